// Serves the bench's service by rpcx, in the way its own benchmark does: `rpcx FILE`, where the file holds the address to
// listen on; `rpcx grpc FILE` does by gRPC; `rpcx load ADDRESS CONNECTIONS CALLERS SECONDS` calls it, or ours.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/smallnest/rpcx/client"
	"github.com/smallnest/rpcx/protocol"
	"github.com/smallnest/rpcx/server"
	"google.golang.org/grpc"
)

//go:generate protoc --go_out=paths=source_relative:. message.proto

// Bench answers with what it gets, changed a little.
type Bench struct{}

// Say does.
func (*Bench) Say(_ context.Context, args *Message, reply *Message) error {
	args.Field1 = "OK"
	args.Field2 = 100
	*reply = *args
	return nil
}

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "grpc-version":
		fmt.Println(grpc.Version)
	case len(os.Args) == 3 && os.Args[1] == "grpc":
		config, err := os.ReadFile(os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		log.Fatal(serveGRPC(strings.TrimSpace(string(config))))
	case len(os.Args) == 2 && os.Args[1] == "version":
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, module := range info.Deps {
				if module.Path == "github.com/smallnest/rpcx" {
					fmt.Println(strings.TrimPrefix(module.Version, "v"))
				}
			}
		}
	case len(os.Args) == 2:
		config, err := os.ReadFile(os.Args[1])
		if err != nil {
			log.Fatal(err)
		}
		s := server.NewServer()
		if err := s.RegisterName("Bench", new(Bench), ""); err != nil {
			log.Fatal(err)
		}
		log.Fatal(s.Serve("tcp", strings.TrimSpace(string(config))))
	case len(os.Args) == 6 && os.Args[1] == "load":
		number := func(text string) int {
			n, err := strconv.Atoi(text)
			if err != nil {
				log.Fatal(err)
			}
			return n
		}
		load(os.Args[2], number(os.Args[3]), number(os.Args[4]), number(os.Args[5]))
	default:
		log.Fatal("usage: rpcx FILE | load ADDRESS CONNECTIONS CALLERS SECONDS")
	}
}

func load(address string, connections, callers, seconds int) {
	clients := make([]*client.Client, connections)
	for i := range clients {
		option := client.DefaultOption
		option.SerializeType = protocol.ProtoBuffer
		clients[i] = client.NewClient(option)
		if err := clients[i].Connect("tcp", address); err != nil {
			log.Fatal(err)
		}
	}
	began := time.Now()
	until := began.Add(time.Duration(seconds) * time.Second)
	took, errors := make([][]int64, callers), make([]int, callers)
	var done sync.WaitGroup
	for i := range callers {
		done.Go(func() {
			c, message := clients[i%connections], message()
			for {
				began := time.Now()
				if began.After(until) {
					return
				}
				reply := &Message{}
				err := c.Call(context.Background(), "Bench", "Say", message, reply)
				if err != nil || reply.Field1 != "OK" || reply.Field2 != 100 || reply.Field27 != message.Field27 {
					errors[i]++
				} else {
					took[i] = append(took[i], time.Since(began).Microseconds())
				}
			}
		})
	}
	done.Wait()
	elapsed := time.Since(began).Microseconds()
	all, failed := slices.Concat(took...), 0
	slices.Sort(all)
	for _, n := range errors {
		failed += n
	}
	at := func(percent int) int64 {
		if len(all) == 0 {
			return 0
		}
		return all[min(len(all)*percent/100, len(all)-1)]
	}
	fmt.Printf("requests=%d errors=%d microseconds=%d p50=%d p99=%d\n", len(all), failed, elapsed, at(50), at(99))
}

func message() *Message {
	text := strings.Repeat("x", 44)
	return &Message{
		Field1: text, Field2: 100000, Field3: 100000, Field4: text, Field6: true, Field7: text, Field8: text,
		Field9: text, Field10: true, Field11: true, Field12: 100000, Field13: 100000, Field14: text, Field15: text,
		Field16: 100000, Field17: text, Field18: text, Field19: 100000, Field20: 100000, Field21: 100000, Field22: 0.5,
		Field23: true, Field24: true, Field25: 100000, Field26: 100000, Field27: text,
		Field28: []byte(strings.Repeat("y", 46)),
	}
}
