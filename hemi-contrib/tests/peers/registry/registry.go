package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rpcxio/libkv"
	"github.com/rpcxio/libkv/store"
	"github.com/rpcxio/libkv/store/redis"
	"github.com/rpcxio/libkv/store/zookeeper"
	consulclient "github.com/rpcxio/rpcx-consul/client"
	consulplugin "github.com/rpcxio/rpcx-consul/serverplugin"
	etcdclient "github.com/rpcxio/rpcx-etcd/client"
	etcdplugin "github.com/rpcxio/rpcx-etcd/serverplugin"
	"github.com/smallnest/rpcx/client"
)

// plugin says that a service is there, and that it has gone.
type plugin interface {
	Register(name string, rcvr interface{}, metadata string) error
	Unregister(name string) error
	Stop() error
}

func register(kind, registry, base, address string) (plugin, error) {
	registries := []string{registry}
	switch kind {
	case "etcd":
		p := &etcdplugin.EtcdV3RegisterPlugin{
			ServiceAddress: address, EtcdServers: registries, BasePath: base, UpdateInterval: interval,
		}
		return p, p.Start()
	case "consul":
		// It takes no sessions of less than ten seconds.
		p := &consulplugin.ConsulRegisterPlugin{
			ServiceAddress: address, ConsulServers: registries, BasePath: base, UpdateInterval: 2 * interval,
		}
		return p, p.Start()
	default:
		kv, err := open(kind, registries)
		return &stored{kv: kv, base: path(kind, base), address: address, left: make(chan struct{})}, err
	}
}

func discover(kind, registry, base, service string) (client.ServiceDiscovery, error) {
	registries := []string{registry}
	switch kind {
	case "etcd":
		return etcdclient.NewEtcdV3Discovery(base, service, registries, true, nil)
	case "consul":
		return consulclient.NewConsulDiscovery(base, service, registries, nil)
	default:
		kv, err := open(kind, registries)
		if err != nil {
			return nil, err
		}
		return follow(kv, path(kind, base)+"/"+service)
	}
}

// What follows does to the library of stores that the plugins for Redis and ZooKeeper are made with what these do: they have
// no versions of their own that could be had.

func open(kind string, registries []string) (store.Store, error) {
	redis.Register()
	zookeeper.Register()
	switch kind {
	case "redis":
		return libkv.NewStore(store.REDIS, registries, nil)
	case "zookeeper":
		return libkv.NewStore(store.ZK, registries, &store.Config{ConnectionTimeout: 5 * time.Second})
	default:
		return nil, fmt.Errorf("%s is no kind of registry", kind)
	}
}

// path is what the base is for a kind.
func path(kind, base string) string {
	if kind == "zookeeper" {
		return strings.TrimPrefix(base, "/")
	}
	return base
}

type stored struct {
	kv            store.Store
	base, address string
	left          chan struct{}
	nodes         []string
}

// Register tries it for a while, for the registry may just have begun.
func (p *stored) Register(name string, _ interface{}, metadata string) error {
	for attempt := 0; ; attempt++ {
		err := p.register(name, metadata)
		if err == nil || attempt == 100 {
			return err
		}
		fmt.Fprintln(os.Stderr, "again:", err)
		time.Sleep(200 * time.Millisecond)
	}
}

func (p *stored) register(name, metadata string) error {
	if err := p.kv.Put(p.base, []byte("rpcx_path"), &store.WriteOptions{IsDir: true}); err != nil {
		return err
	}
	if err := p.kv.Put(p.base+"/"+name, []byte(name), &store.WriteOptions{IsDir: true}); err != nil {
		return err
	}
	node := p.base + "/" + name + "/" + p.address
	options := &store.WriteOptions{TTL: 2 * interval}
	if _, isZooKeeper := p.kv.(*zookeeper.Zookeeper); isZooKeeper {
		_ = p.kv.Delete(node)
		if _, _, err := p.kv.AtomicPut(node, []byte(metadata), nil, options); err != nil {
			return err
		}
	} else if err := p.kv.Put(node, []byte(metadata), options); err != nil {
		return err
	}
	p.nodes = append(p.nodes, node)
	go p.keep(node, metadata, options)
	return nil
}

// keep writes what is there again and again.
func (p *stored) keep(node, metadata string, options *store.WriteOptions) {
	for ticker := time.NewTicker(interval); ; {
		select {
		case <-p.left:
			return
		case <-ticker.C:
			value := []byte(metadata)
			if pair, err := p.kv.Get(node); err == nil {
				value = pair.Value
			}
			_ = p.kv.Put(node, value, options)
		}
	}
}

func (p *stored) Unregister(string) error { return nil }

func (p *stored) Stop() error {
	close(p.left)
	for _, node := range p.nodes {
		if err := p.kv.Delete(node); err != nil {
			return err
		}
	}
	return nil
}

func follow(kv store.Store, directory string) (client.ServiceDiscovery, error) {
	pairs := func(found []*store.KVPair) []*client.KVPair {
		nodes := []*client.KVPair{}
		for _, pair := range found {
			if pair.Key != directory {
				key := strings.TrimPrefix(pair.Key, directory+"/")
				nodes = append(nodes, &client.KVPair{Key: key, Value: string(pair.Value)})
			}
		}
		return nodes
	}
	found, err := kv.List(directory)
	if err != nil {
		return nil, err
	}
	nodes, err := client.NewMultipleServersDiscovery(pairs(found))
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			changes, err := kv.WatchTree(directory, nil)
			if err != nil {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			for found := range changes {
				nodes.Update(pairs(found))
			}
		}
	}()
	return nodes, nil
}
