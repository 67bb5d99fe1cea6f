package main

import (
	"context"
	"net"

	"google.golang.org/grpc"
)

// The service by gRPC, as protoc-gen-go-grpc would describe it.
var benchService = grpc.ServiceDesc{
	ServiceName: "bench.Bench",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Say",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			message := new(Message)
			if err := decode(message); err != nil {
				return nil, err
			}
			message.Field1 = "OK"
			message.Field2 = 100
			return message, nil
		},
	}},
}

func serveGRPC(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	s.RegisterService(&benchService, struct{}{})
	return s.Serve(listener)
}
