// A server and a client of rpcx, as its authors have them, to be tried against ours.
//
//	rpcx-peer serve ADDRESS            serves Arith and Raw until it is killed
//	rpcx-peer serve-http ADDRESS       the same by HTTP
//	rpcx-peer http ADDRESS             calls Arith.Mul by HTTP
//	rpcx-peer call ADDRESS             tries all that it knows; prints a line for each thing that went well
//	rpcx-peer beside ADDRESS           opens a stream, sends a file and fetches some
//	rpcx-peer load ADDRESS CALLS CONCURRENCY
package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/smallnest/rpcx/protocol"
)

// snappy is the number that means it, here and there.
const snappy = protocol.CompressType(3)

func main() {
	protocol.Compressors[snappy] = &protocol.SnappyCompressor{}
	arguments := os.Args[1:]
	var err error
	switch {
	case len(arguments) == 2 && arguments[0] == "serve":
		err = serve("tcp", arguments[1])
	case len(arguments) == 2 && arguments[0] == "serve-http":
		err = serve("http", arguments[1])
	case len(arguments) == 2 && arguments[0] == "http":
		err = byHTTP(arguments[1])
	case len(arguments) == 2 && arguments[0] == "call":
		err = call(arguments[1])
	case len(arguments) == 2 && arguments[0] == "beside":
		if err = streams(arguments[1]); err == nil {
			err = transfers(arguments[1])
		}
	case len(arguments) == 4 && arguments[0] == "load":
		calls, _ := strconv.Atoi(arguments[2])
		concurrency, _ := strconv.Atoi(arguments[3])
		err = load(arguments[1], calls, concurrency)
	default:
		err = fmt.Errorf("usage: rpcx-peer serve|call|load ADDRESS [CALLS CONCURRENCY]")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
