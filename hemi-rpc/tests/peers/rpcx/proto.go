package main

import (
	"context"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Proto is for messages of Protobuf. Those that come with the library spare us a compiler.
type Proto struct{}

// Upper doubles a text.
func (p *Proto) Double(_ context.Context, args *wrapperspb.StringValue, reply *wrapperspb.StringValue) error {
	reply.Value = args.Value + args.Value
	return nil
}

// Count says how long a list is.
func (p *Proto) Count(_ context.Context, args *structpb.ListValue, reply *wrapperspb.UInt64Value) error {
	reply.Value = uint64(len(args.Values))
	return nil
}
