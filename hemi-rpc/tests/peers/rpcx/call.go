package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smallnest/rpcx/client"
	"github.com/smallnest/rpcx/protocol"
	"github.com/smallnest/rpcx/share"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func dial(address string, option client.Option) (*client.Client, error) {
	c := client.NewClient(option)
	return c, c.Connect("tcp", address)
}

// byHTTP has HTTP be the way in.
func byHTTP(address string) error {
	c := client.NewClient(option(protocol.MsgPack, protocol.None))
	if err := c.Connect("http", address); err != nil {
		return err
	}
	defer c.Close()
	reply := &Reply{}
	if err := c.Call(context.Background(), "Arith", "Mul", &Args{6, 7}, reply); err != nil || reply.C != 42 {
		return fmt.Errorf("6 * 7 = %d, %w", reply.C, err)
	}
	return nil
}

// call tries everything that a client can do with one server.
func call(address string) error {
	checks := []struct {
		name string
		run  func(string) error
	}{
		{"json", func(a string) error { return structs(a, protocol.JSON, protocol.None) }},
		{"json gzip", func(a string) error { return structs(a, protocol.JSON, protocol.Gzip) }},
		{"msgpack", func(a string) error { return structs(a, protocol.MsgPack, protocol.None) }},
		{"msgpack gzip", func(a string) error { return structs(a, protocol.MsgPack, protocol.Gzip) }},
		{"protobuf", func(a string) error { return messages(a, protocol.None) }},
		{"protobuf gzip", func(a string) error { return messages(a, protocol.Gzip) }},
		{"raw", func(a string) error { return raw(a, protocol.None) }},
		{"raw gzip", func(a string) error { return raw(a, protocol.Gzip) }},
		{"msgpack snappy", func(a string) error { return structs(a, protocol.MsgPack, snappy) }},
		{"raw snappy", func(a string) error { return raw(a, snappy) }},
		{"metadata", metadata},
		{"error", failure},
		{"panic", panicking},
		{"unknown", unknown},
		{"deadline", deadline},
		{"oneway", oneway},
		{"heartbeat", heartbeat},
		{"push", push},
		{"auth", auth},
	}
	for _, check := range checks {
		if err := check.run(address); err != nil {
			return fmt.Errorf("%s: %w", check.name, err)
		}
		fmt.Println(check.name)
	}
	return nil
}

func option(codec protocol.SerializeType, compression protocol.CompressType) client.Option {
	option := client.DefaultOption
	option.SerializeType = codec
	option.CompressType = compression
	option.ConnectTimeout = 10 * time.Second
	return option
}

func structs(address string, codec protocol.SerializeType, compression protocol.CompressType) error {
	c, err := dial(address, option(codec, compression))
	if err != nil {
		return err
	}
	defer c.Close()
	reply := &Reply{}
	if err := c.Call(context.Background(), "Arith", "Mul", &Args{10, 20}, reply); err != nil {
		return err
	}
	if reply.C != 200 {
		return fmt.Errorf("10 * 20 = %d", reply.C)
	}
	for _, size := range []int{0, 10, 5000} {
		team := Team{ID: -5, Name: strings.Repeat("Reds ", size), Ratio: 0.5}
		if size > 0 {
			team.Colours = []string{"Crimson", "Red"}
			team.Crest = []byte(strings.Repeat("\x00\xff", size))
			team.Points = map[string]int{"a": 1, "b": -200}
		}
		same := Team{}
		if err := c.Call(context.Background(), "Arith", "Same", &team, &same); err != nil {
			return err
		}
		if len(same.Colours) == 0 && len(same.Crest) == 0 && len(same.Points) == 0 {
			same.Colours, same.Crest, same.Points = team.Colours, team.Crest, team.Points
		}
		if !reflect.DeepEqual(team, same) {
			return fmt.Errorf("%d: another team came back", size)
		}
	}
	return nil
}

func messages(address string, compression protocol.CompressType) error {
	c, err := dial(address, option(protocol.ProtoBuffer, compression))
	if err != nil {
		return err
	}
	defer c.Close()
	for _, size := range []int{0, 1, 3000} {
		text := strings.Repeat("ab", size)
		reply := &wrapperspb.StringValue{}
		if err := c.Call(context.Background(), "Proto", "Double", wrapperspb.String(text), reply); err != nil {
			return err
		}
		if reply.Value != text+text {
			return fmt.Errorf("%d: another text came back", size)
		}
	}
	return nil
}

func raw(address string, compression protocol.CompressType) error {
	c, err := dial(address, option(protocol.SerializeNone, compression))
	if err != nil {
		return err
	}
	defer c.Close()
	for _, size := range []int{0, 1, 1024, 1025, 100000} {
		args, reply := []byte(strings.Repeat("x", size)), []byte{}
		if err := c.Call(context.Background(), "Raw", "Upper", &args, &reply); err != nil {
			return err
		}
		if string(reply) != strings.Repeat("X", size) {
			return fmt.Errorf("%d: %d bytes came back", size, len(reply))
		}
	}
	return nil
}

func metadata(address string) error {
	c, err := dial(address, option(protocol.MsgPack, protocol.None))
	if err != nil {
		return err
	}
	defer c.Close()
	for _, value := range []string{"", "v", "ä\x00\n", strings.Repeat("m", 10000)} {
		back := map[string]string{}
		ctx := context.WithValue(context.Background(), share.ReqMetaDataKey, map[string]string{"k": value, "": "e"})
		ctx = context.WithValue(ctx, share.ResMetaDataKey, back)
		if err := c.Call(ctx, "Arith", "Meta", &Args{1, 0}, &Reply{}); err != nil {
			return err
		}
		if back["back"] != value {
			return fmt.Errorf("%q came back as %q", value, back["back"])
		}
	}
	return nil
}

// fails makes a call that is to fail with a text.
func fails(address, service, method, text string) error {
	c, err := dial(address, option(protocol.MsgPack, protocol.None))
	if err != nil {
		return err
	}
	defer c.Close()
	reply := &Reply{}
	err = c.Call(context.Background(), service, method, &Args{1, 2}, reply)
	if err == nil || err.Error() != text {
		return fmt.Errorf("expected %q, not %v", text, err)
	}
	// The connection goes on.
	if err := c.Call(context.Background(), "Arith", "Mul", &Args{3, 2}, reply); err != nil || reply.C != 6 {
		return fmt.Errorf("after it: %v", err)
	}
	return nil
}

func failure(address string) error   { return fails(address, "Arith", "Fail", "boom") }
func panicking(address string) error { return fails(address, "Arith", "Panic", "at the disco") }

func unknown(address string) error {
	if err := fails(address, "Nope", "Mul", "rpcx: can't find service Nope"); err != nil {
		return err
	}
	return fails(address, "Arith", "Nope", "rpcx: can't find method Nope")
}

func deadline(address string) error {
	c, err := dial(address, option(protocol.MsgPack, protocol.None))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	err = c.Call(ctx, "Arith", "Sleep", &Args{60000, 0}, &Reply{})
	if err == nil || !(errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "deadline exceeded")) {
		return fmt.Errorf("expected a deadline, not %v", err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return c.Call(ctx, "Arith", "Sleep", &Args{1, 0}, &Reply{})
}

func oneway(address string) error {
	c, err := dial(address, option(protocol.MsgPack, protocol.None))
	if err != nil {
		return err
	}
	defer c.Close()
	for i := 0; i < 10; i++ {
		if err := c.Call(context.Background(), "Arith", "Fail", &Args{i, 1}, nil); err != nil && i > 0 {
			// Nil as a reply is what makes it one-way; nothing may come back.
			return err
		}
	}
	reply := &Reply{}
	if err := c.Call(context.Background(), "Arith", "Mul", &Args{4, 5}, reply); err != nil || reply.C != 20 {
		return fmt.Errorf("after it: %d, %v", reply.C, err)
	}
	return nil
}

func heartbeat(address string) error {
	o := option(protocol.MsgPack, protocol.None)
	o.Heartbeat = true
	o.HeartbeatInterval = 20 * time.Millisecond
	o.MaxWaitForHeartbeat = 10 * time.Second
	c, err := dial(address, o)
	if err != nil {
		return err
	}
	defer c.Close()
	reply := &Reply{}
	if err := c.Call(context.Background(), "Arith", "Sleep", &Args{200, 0}, reply); err != nil {
		return err
	}
	if c.IsClosing() || c.IsShutdown() {
		return errors.New("the connection has ended")
	}
	return nil
}

func push(address string) error {
	c, err := dial(address, option(protocol.MsgPack, protocol.None))
	if err != nil {
		return err
	}
	defer c.Close()
	pushes := make(chan *protocol.Message, 16)
	c.RegisterServerMessageChan(pushes)
	if err := c.Call(context.Background(), "Arith", "Push", &Args{3, 0}, &Reply{}); err != nil {
		return err
	}
	for i := 1; i <= 3; i++ {
		select {
		case message := <-pushes:
			if message.ServicePath != "news" || message.ServiceMethod != "flash" ||
				string(message.Payload) != strings.Repeat("!", i) {
				return fmt.Errorf("%s.%s %q", message.ServicePath, message.ServiceMethod, message.Payload)
			}
		case <-time.After(20 * time.Second):
			return fmt.Errorf("push %d does not come", i)
		}
	}
	return nil
}

func auth(address string) error {
	ask := func(token string) (*client.Client, error) {
		c, err := dial(address, option(protocol.MsgPack, protocol.None))
		if err != nil {
			return nil, err
		}
		ctx := context.WithValue(context.Background(), share.ReqMetaDataKey, map[string]string{share.AuthKey: token})
		return c, c.Call(ctx, "Secret", "Mul", &Args{2, 3}, &Reply{})
	}
	good, err := ask("Bearer tok")
	if err != nil {
		return err
	}
	good.Close()
	bad, err := ask("Bearer no")
	if err == nil || err.Error() != "who are you?" {
		return fmt.Errorf("expected to be refused, not %v", err)
	}
	// The server has closed the connection.
	for i := 0; i < 1000; i++ {
		if bad.IsShutdown() || bad.IsClosing() {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("the connection goes on")
}

// load makes many calls at once by one connection, and looks at every reply.
func load(address string, calls, concurrency int) error {
	c, err := dial(address, option(protocol.MsgPack, protocol.None))
	if err != nil {
		return err
	}
	defer c.Close()
	var next, wrong atomic.Int64
	var first atomic.Value
	var workers sync.WaitGroup
	for w := 0; w < concurrency; w++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for {
				n := int(next.Add(1))
				if n > calls {
					return
				}
				reply := &Reply{}
				if err := c.Call(context.Background(), "Arith", "Mul", &Args{n, 3}, reply); err != nil {
					wrong.Add(1)
					first.CompareAndSwap(nil, err.Error())
				} else if reply.C != 3*n {
					wrong.Add(1)
					first.CompareAndSwap(nil, fmt.Sprintf("%d * 3 = %d", n, reply.C))
				}
			}
		}()
	}
	workers.Wait()
	fmt.Printf("%d calls, %d wrong\n", calls, wrong.Load())
	if wrong.Load() > 0 {
		return fmt.Errorf("the first: %v", first.Load())
	}
	return nil
}
