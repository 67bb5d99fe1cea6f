package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/smallnest/rpcx/client"
	"github.com/smallnest/rpcx/server"
	"github.com/smallnest/rpcx/share"
)

// free is an address that nobody listens on.
func free() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// beside has a server offer streams and files.
func beside(s *server.Server) error {
	address, err := free()
	if err != nil {
		return err
	}
	s.EnableStreamService("", server.NewStreamService(address, capitals, nil, 100))
	if address, err = free(); err != nil {
		return err
	}
	s.EnableFileTransfer("", server.NewFileTransfer(address, uploaded, downloaded, 100))
	return waitFor(address)
}

// waitFor waits until somebody listens.
func waitFor(address string) error {
	for i := 0; i < 1000; i++ {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("nobody listens on " + address)
}

// capitals sends back what comes, behind what was said of it.
func capitals(conn net.Conn, args *share.StreamServiceArgs) {
	defer conn.Close()
	fmt.Fprint(conn, args.Meta["greeting"])
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		conn.Write(bytes.ToUpper(buffer[:n]))
		if err != nil {
			return
		}
	}
}

var files = make(chan string, 16)

// uploaded keeps a file, for who asks for it.
func uploaded(conn net.Conn, args *share.FileTransferArgs) {
	defer conn.Close()
	content := make([]byte, args.FileSize)
	if _, err := io.ReadFull(conn, content); err == nil {
		files <- args.FileName + args.Meta["more"] + string(content)
	}
}

// downloaded sends what was uploaded last, or its own name again and again.
func downloaded(conn net.Conn, args *share.DownloadFileArgs) {
	defer conn.Close()
	if args.FileName == "uploaded" {
		fmt.Fprint(conn, <-files)
		return
	}
	fmt.Fprint(conn, strings.Repeat(args.FileName, 10000))
}

// xclient calls one service, by what is made for several servers.
func xclient(address, service string) (client.XClient, error) {
	discovery, err := client.NewPeer2PeerDiscovery("tcp@"+address, "")
	if err != nil {
		return nil, err
	}
	return client.NewXClient(service, client.Failfast, client.RandomSelect, discovery, client.DefaultOption), nil
}

// streams has a stream go both ways.
func streams(address string) error {
	c, err := xclient(address, share.StreamServiceName)
	if err != nil {
		return err
	}
	defer c.Close()
	conn, err := c.Stream(context.Background(), map[string]string{"greeting": "hi "})
	if err != nil {
		return err
	}
	defer conn.Close()
	text := strings.Repeat("ab", 50000)
	go func() {
		io.WriteString(conn, text)
		conn.(*net.TCPConn).CloseWrite()
	}()
	back, err := io.ReadAll(conn)
	if err != nil || string(back) != "hi "+strings.ToUpper(text) {
		return fmt.Errorf("%d bytes came back, %v", len(back), err)
	}
	return nil
}

// transfers sends a file, and fetches it and another one.
func transfers(address string) error {
	c, err := xclient(address, share.SendFileServiceName)
	if err != nil {
		return err
	}
	defer c.Close()
	dir, err := os.MkdirTemp("", "rpcx-peer")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// Of no whole number of buffers.
	content := strings.Repeat("content", 777)
	if err := os.WriteFile(filepath.Join(dir, "name"), []byte(content), 0o600); err != nil {
		return err
	}
	if err := c.SendFile(context.Background(), filepath.Join(dir, "name"), 0, map[string]string{"more": "+"}); err != nil {
		return err
	}
	for name, expected := range map[string]string{
		"uploaded": "name+" + content,
		"abc":      strings.Repeat("abc", 10000),
	} {
		var back bytes.Buffer
		if err := c.DownloadFile(context.Background(), name, &back, nil); err != nil {
			return err
		}
		if back.String() != expected {
			return fmt.Errorf("%s: %d bytes came back", name, back.Len())
		}
	}
	return nil
}
