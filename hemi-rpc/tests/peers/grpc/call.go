package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
)

func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func serve(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	server := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
	return server.Serve(listener)
}

// Each case ends the program if it fails.
func call(address string) error {
	conn, err := dial(address)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx := context.Background()
	tc := testgrpc.NewTestServiceClient(conn)
	zipped := grpc.UseCompressor(gzip.Name)
	cases := []struct {
		name string
		run  func()
	}{
		{"empty_unary", func() { interop.DoEmptyUnaryCall(ctx, tc) }},
		{"large_unary", func() { interop.DoLargeUnaryCall(ctx, tc) }},
		{"client_streaming", func() { interop.DoClientStreaming(ctx, tc) }},
		{"server_streaming", func() { interop.DoServerStreaming(ctx, tc) }},
		{"ping_pong", func() { interop.DoPingPong(ctx, tc) }},
		{"empty_stream", func() { interop.DoEmptyStream(ctx, tc) }},
		{"timeout_on_sleeping_server", func() { interop.DoTimeoutOnSleepingServer(ctx, tc) }},
		{"cancel_after_begin", func() { interop.DoCancelAfterBegin(ctx, tc) }},
		{"cancel_after_first_response", func() { interop.DoCancelAfterFirstResponse(ctx, tc) }},
		{"custom_metadata", func() { interop.DoCustomMetadata(ctx, tc) }},
		{"status_code_and_message", func() { interop.DoStatusCodeAndMessage(ctx, tc) }},
		{"special_status_message", func() { interop.DoSpecialStatusMessage(ctx, tc) }},
		{"unimplemented_method", func() { interop.DoUnimplementedMethod(ctx, conn) }},
		{"unimplemented_service", func() {
			interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(conn))
		}},
		{"compressed_unary", func() { interop.DoLargeUnaryCall(ctx, tc, zipped) }},
		{"compressed_client_streaming", func() { interop.DoClientStreaming(ctx, tc, zipped) }},
		{"compressed_server_streaming", func() { interop.DoServerStreaming(ctx, tc, zipped) }},
		{"compressed_ping_pong", func() { interop.DoPingPong(ctx, tc, zipped) }},
	}
	for _, c := range cases {
		c.run()
		fmt.Println(c.name)
	}
	more := []struct {
		name string
		run  func(context.Context, *grpc.ClientConn) error
	}{
		{"too_long", tooLong}, {"health", health}, {"reflection", reflect}, {"reflection_alpha", reflectAlpha},
	}
	for _, c := range more {
		if err := c.run(ctx, conn); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Println(c.name)
	}
	return nil
}

func tooLong(ctx context.Context, conn *grpc.ClientConn) error {
	body := bytes.Repeat([]byte("x"), 5<<20)
	for _, options := range [][]grpc.CallOption{nil, {grpc.UseCompressor(gzip.Name)}} {
		request := &testpb.SimpleRequest{Payload: &testpb.Payload{Body: body}}
		_, err := testgrpc.NewTestServiceClient(conn).UnaryCall(ctx, request, options...)
		if status.Code(err) != codes.ResourceExhausted {
			return fmt.Errorf("5 MiB are answered %v", err)
		}
	}
	return nil
}

func health(ctx context.Context, conn *grpc.ClientConn) error {
	client := healthpb.NewHealthClient(conn)
	for _, service := range []string{"", "grpc.testing.TestService"} {
		answer, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: service})
		if err != nil || answer.Status != healthpb.HealthCheckResponse_SERVING {
			return fmt.Errorf("%q: %v, %v", service, answer, err)
		}
	}
	_, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "none"})
	if status.Code(err) != codes.NotFound {
		return fmt.Errorf("none: %v", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return err
	}
	answer, err := watch.Recv()
	if err != nil || answer.Status != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("watched: %v, %v", answer, err)
	}
	return nil
}

func reflect(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := reflection.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	ask := &reflection.ServerReflectionRequest{
		MessageRequest: &reflection.ServerReflectionRequest_ListServices{},
	}
	if err := stream.Send(ask); err != nil {
		return err
	}
	answer, err := stream.Recv()
	if err != nil {
		return err
	}
	found := map[string]bool{}
	for _, service := range answer.GetListServicesResponse().GetService() {
		found[service.Name] = true
	}
	if !found["grpc.testing.TestService"] || !found["grpc.health.v1.Health"] {
		return fmt.Errorf("found %v", found)
	}
	ask.MessageRequest = &reflection.ServerReflectionRequest_FileContainingSymbol{
		FileContainingSymbol: "grpc.testing.SimpleRequest",
	}
	if err := stream.Send(ask); err != nil {
		return err
	}
	answer, err = stream.Recv()
	if err != nil || len(answer.GetFileDescriptorResponse().GetFileDescriptorProto()) != 1 {
		return fmt.Errorf("%v, %v", answer, err)
	}
	return nil
}

func reflectAlpha(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := reflectionalpha.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	ask := &reflectionalpha.ServerReflectionRequest{
		MessageRequest: &reflectionalpha.ServerReflectionRequest_ListServices{},
	}
	if err := stream.Send(ask); err != nil {
		return err
	}
	answer, err := stream.Recv()
	if err != nil || len(answer.GetListServicesResponse().GetService()) < 3 {
		return fmt.Errorf("%v, %v", answer, err)
	}
	return nil
}

// Many calls at once, each of which has to get its own answer.
func load(address string, calls, concurrency int) error {
	conn, err := dial(address)
	if err != nil {
		return err
	}
	defer conn.Close()
	tc := testgrpc.NewTestServiceClient(conn)
	var next, wrong atomic.Int64
	var group sync.WaitGroup
	for range concurrency {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				number := next.Add(1)
				if number > int64(calls) {
					return
				}
				request := &testpb.SimpleRequest{ResponseSize: int32(number % 5000)}
				reply, err := tc.UnaryCall(context.Background(), request)
				if err != nil || len(reply.Payload.Body) != int(number%5000) {
					wrong.Add(1)
				}
			}
		}()
	}
	group.Wait()
	fmt.Printf("%d calls, %d wrong\n", calls, wrong.Load())
	return nil
}
