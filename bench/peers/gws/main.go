// Echoes messages by gws in its best configuration: `gws FILE`, where the file holds the address to listen on.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"runtime/debug"
	"strings"

	"github.com/lxzan/gws"
)

type echo struct {
	gws.BuiltinEventHandler
}

func (echo) OnPing(socket *gws.Conn, payload []byte) {
	_ = socket.WritePong(payload)
}

func (echo) OnMessage(socket *gws.Conn, message *gws.Message) {
	defer message.Close()
	_ = socket.WriteMessage(message.Opcode, message.Bytes())
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: gws FILE")
	}
	if os.Args[1] == "version" {
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, module := range info.Deps {
				if module.Path == "github.com/lxzan/gws" {
					fmt.Println(strings.TrimPrefix(module.Version, "v"))
				}
			}
		}
		return
	}
	config, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	upgrader := gws.NewUpgrader(&echo{}, &gws.ServerOption{CheckUtf8Enabled: true})
	handle := func(w http.ResponseWriter, r *http.Request) {
		socket, err := upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		go socket.ReadLoop()
	}
	log.Fatal(http.ListenAndServe(strings.TrimSpace(string(config)), http.HandlerFunc(handle)))
}
