// A server and a client of gRPC, as its authors have them, to be tried against ours.
//
//	grpc-peer serve ADDRESS   serves the service of the interop tests until it is killed
//	grpc-peer call ADDRESS    tries all cases; prints a line for each that went well
//	grpc-peer load ADDRESS CALLS CONCURRENCY
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	arguments := os.Args[1:]
	var err error
	switch {
	case len(arguments) == 2 && arguments[0] == "serve":
		err = serve(arguments[1])
	case len(arguments) == 2 && arguments[0] == "call":
		err = call(arguments[1])
	case len(arguments) == 4 && arguments[0] == "load":
		calls, _ := strconv.Atoi(arguments[2])
		concurrency, _ := strconv.Atoi(arguments[3])
		err = load(arguments[1], calls, concurrency)
	default:
		err = fmt.Errorf("usage: grpc-peer serve|call|load ADDRESS [CALLS CONCURRENCY]")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
