package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/smallnest/rpcx/protocol"
	"github.com/smallnest/rpcx/server"
	"github.com/smallnest/rpcx/share"
)

// Args is what Arith takes.
type Args struct{ A, B int }

// Reply is what Arith sends back.
type Reply struct{ C int }

// Team tries out more types than numbers.
type Team struct {
	ID      int64
	Name    string
	Colours []string
	Crest   []byte
	Points  map[string]int
	Ratio   float64
}

// Arith computes.
type Arith struct{ server *server.Server }

// Mul multiplies.
func (a *Arith) Mul(_ context.Context, args *Args, reply *Reply) error {
	reply.C = args.A * args.B
	return nil
}

// Fail fails.
func (a *Arith) Fail(_ context.Context, _ *Args, reply *Reply) error {
	reply.C = 7
	return errors.New("boom")
}

// Panic does what it says.
func (a *Arith) Panic(_ context.Context, _ *Args, _ *Reply) error {
	panic("at the disco")
}

// Same sends a team back.
func (a *Arith) Same(_ context.Context, args *Team, reply *Team) error {
	*reply = *args
	return nil
}

// Meta sends back what metadata has for "k".
func (a *Arith) Meta(ctx context.Context, args *Args, reply *Reply) error {
	metadata := ctx.Value(share.ReqMetaDataKey).(map[string]string)
	answer := ctx.Value(share.ResMetaDataKey).(map[string]string)
	answer["back"] = metadata["k"]
	reply.C = args.A
	return nil
}

// Sleep sleeps for A milliseconds.
func (a *Arith) Sleep(_ context.Context, args *Args, reply *Reply) error {
	time.Sleep(time.Duration(args.A) * time.Millisecond)
	reply.C = args.A
	return nil
}

// Push has the server send A messages.
func (a *Arith) Push(ctx context.Context, args *Args, reply *Reply) error {
	conn := ctx.Value(server.RemoteConnContextKey).(net.Conn)
	for i := 0; i < args.A; i++ {
		err := a.server.SendMessage(conn, "news", "flash", nil, []byte(strings.Repeat("!", i+1)))
		if err != nil {
			return err
		}
	}
	return nil
}

// Raw is for bytes.
type Raw struct{}

// Upper sends them back in capitals.
func (r *Raw) Upper(_ context.Context, args *[]byte, reply *[]byte) error {
	*reply = []byte(strings.ToUpper(string(*args)))
	return nil
}

func serve(network, address string) error {
	s := server.NewServer()
	if err := s.RegisterName("Arith", &Arith{s}, ""); err != nil {
		return err
	}
	if err := s.RegisterName("Raw", new(Raw), ""); err != nil {
		return err
	}
	if err := s.RegisterName("Proto", new(Proto), ""); err != nil {
		return err
	}
	if err := s.RegisterName("Secret", &Arith{s}, ""); err != nil {
		return err
	}
	s.AuthFunc = func(_ context.Context, request *protocol.Message, token string) error {
		if request.ServicePath == "Secret" && token != "Bearer tok" {
			return errors.New("who are you?")
		}
		return nil
	}
	if err := beside(s); err != nil {
		return err
	}
	return s.Serve(network, address)
}
