// An origin by net/http, over HTTP/1.1 and HTTP/2 in the clear. It prints its port, and serves until its input
// ends.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// Lets the next event go out.
var next = make(chan struct{})

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", hello)
	mux.HandleFunc("POST /sum", sum)
	mux.HandleFunc("POST /echo", echo)
	mux.HandleFunc("GET /chunks", chunks)
	mux.HandleFunc("GET /events", events)
	mux.HandleFunc("POST /next", func(http.ResponseWriter, *http.Request) { next <- struct{}{} })
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := http.Server{Handler: mux, Protocols: &protocols}
	panic(server.Serve(listener))
}

func hello(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s %s for %s", r.Proto, r.Host, r.URL, r.Header.Get("X-Forwarded-For"))
}

// What was sent, in short.
func sum(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	length, err := io.Copy(hash, r.Body)
	if err != nil {
		return
	}
	w.Header().Set("X-Said", fmt.Sprint(r.ContentLength))
	fmt.Fprintf(w, "%d %x", length, hash.Sum(nil))
}

// What was sent, while it comes, and how much of it in a trailer.
func echo(w http.ResponseWriter, r *http.Request) {
	http.NewResponseController(w).EnableFullDuplex()
	w.Header().Set("Trailer", "X-Length")
	length, _ := io.Copy(w, r.Body)
	w.Header().Set("X-Length", fmt.Sprint(length))
}

func chunks(w http.ResponseWriter, r *http.Request) {
	for n := range 100 {
		fmt.Fprintf(w, "piece %d\n", n)
		w.(http.Flusher).Flush()
	}
}

// Server-sent events, each when it is asked for.
func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for n := range 5 {
		fmt.Fprintf(w, "data: %d\n\n", n)
		w.(http.Flusher).Flush()
		select {
		case <-next:
		case <-r.Context().Done():
			return
		}
	}
}
