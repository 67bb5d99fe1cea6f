// Nodes and clients of rpcx that find each other by a registry, as its authors have them, to be tried against ours.
//
//	registry-peer serve KIND REGISTRY BASE ADDRESS [METADATA]
//	    serves Arith at ADDRESS, says "ready" when that is registered, and takes it back when its input ends
//	registry-peer watch KIND REGISTRY BASE
//	    prints the nodes of Arith whenever they change, in a line; calls one for each line that it reads
//	registry-peer consul ADDRESS
//	    is a stand-in for a Consul
//
// KIND is etcd, consul, redis or zookeeper.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/smallnest/rpcx/client"
	"github.com/smallnest/rpcx/server"
)

// Args is what Arith takes.
type Args struct{ A, B int }

// Reply is what Arith sends back.
type Reply struct{ C int }

// Arith computes.
type Arith struct{}

// Mul multiplies.
func (a *Arith) Mul(_ context.Context, args *Args, reply *Reply) error {
	reply.C = args.A * args.B
	return nil
}

// interval is how often nodes say that they are still there.
const interval = 5 * time.Second

func serve(kind, registry, base, address, metadata string) error {
	plugin, err := register(kind, registry, base, "tcp@"+address)
	if err != nil {
		return err
	}
	s := server.NewServer()
	s.Plugins.Add(plugin)
	if err := s.RegisterName("Arith", new(Arith), metadata); err != nil {
		return err
	}
	ended := make(chan error)
	go func() { ended <- s.Serve("tcp", address) }()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		ended <- plugin.Stop()
	}()
	<-s.Started
	fmt.Println("ready")
	return <-ended
}

func watch(kind, registry, base string) error {
	found, err := discover(kind, registry, base, "Arith")
	if err != nil {
		return err
	}
	changes := found.WatchService()
	show(found.GetServices())
	go func() {
		for nodes := range changes {
			show(nodes)
		}
	}()
	option := client.DefaultOption
	option.ConnectTimeout = 10 * time.Second
	x := client.NewXClient("Arith", client.Failover, client.RoundRobin, found, option)
	defer x.Close()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		reply := &Reply{}
		if err := x.Call(context.Background(), "Mul", &Args{6, 7}, reply); err != nil {
			fmt.Println("error", err)
		} else {
			fmt.Println("reply", reply.C)
		}
	}
	return nil
}

func show(nodes []*client.KVPair) {
	lines := []string{}
	for _, node := range nodes {
		lines = append(lines, node.Key+"?"+node.Value)
	}
	sort.Strings(lines)
	fmt.Println("nodes", strings.Join(lines, " "))
}

func main() {
	arguments := os.Args[1:]
	var err error
	switch {
	case len(arguments) == 5 && arguments[0] == "serve":
		err = serve(arguments[1], arguments[2], arguments[3], arguments[4], "")
	case len(arguments) == 6 && arguments[0] == "serve":
		err = serve(arguments[1], arguments[2], arguments[3], arguments[4], arguments[5])
	case len(arguments) == 2 && arguments[0] == "consul":
		err = consul(arguments[1])
	case len(arguments) == 4 && arguments[0] == "watch":
		err = watch(arguments[1], arguments[2], arguments[3])
	default:
		err = fmt.Errorf("usage: registry-peer serve KIND REGISTRY BASE ADDRESS [METADATA] | watch KIND REGISTRY BASE | consul ADDRESS")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
