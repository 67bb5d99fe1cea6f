package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// standIn does what a Consul does with its store and sessions, as far as its clients here ask for it: Debian has no Consul.
type standIn struct {
	mu       sync.Mutex
	changed  chan struct{}
	index    uint64
	pairs    map[string]*pair
	sessions map[string]*session
}

type pair struct {
	Key, Session                               string
	Value                                      []byte
	Flags, CreateIndex, ModifyIndex, LockIndex uint64
}

type session struct {
	ID, TTL string
	ends    *time.Timer
}

func consul(address string) error {
	s := &standIn{
		changed: make(chan struct{}), index: 1, pairs: map[string]*pair{}, sessions: map[string]*session{},
	}
	http.HandleFunc("/v1/kv/", s.kv)
	http.HandleFunc("/v1/session/create", s.create)
	http.HandleFunc("/v1/session/renew/", s.renew)
	http.HandleFunc("/v1/session/destroy/", s.destroy)
	return http.ListenAndServe(address, nil)
}

// change notes that something is different now.
func (s *standIn) change() uint64 {
	s.index++
	close(s.changed)
	s.changed = make(chan struct{})
	return s.index
}

func (s *standIn) kv(w http.ResponseWriter, r *http.Request) {
	key, query := strings.TrimPrefix(r.URL.Path, "/v1/kv/"), r.URL.Query()
	body, _ := io.ReadAll(r.Body)
	switch r.Method {
	case http.MethodGet:
		s.get(w, r, key)
	case http.MethodPut:
		s.mu.Lock()
		defer s.mu.Unlock()
		known, acquire := s.pairs[key], query.Get("acquire")
		if acquire != "" && s.sessions[acquire] == nil {
			http.Error(w, "invalid session", http.StatusInternalServerError)
			return
		}
		if acquire != "" && known != nil && known.Session != "" && known.Session != acquire {
			fmt.Fprint(w, "false")
			return
		}
		index := s.change()
		if known == nil {
			known = &pair{Key: key, CreateIndex: index}
			s.pairs[key] = known
		}
		if acquire != "" {
			known.Session = acquire
			known.LockIndex++
		}
		known.Value, known.ModifyIndex = body, index
		known.Flags, _ = strconv.ParseUint(query.Get("flags"), 10, 64)
		fmt.Fprint(w, "true")
	case http.MethodDelete:
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.pairs, key)
		s.change()
		fmt.Fprint(w, "true")
	}
}

// get waits for a change, if it is told to.
func (s *standIn) get(w http.ResponseWriter, r *http.Request, key string) {
	query := r.URL.Query()
	seen, _ := strconv.ParseUint(query.Get("index"), 10, 64)
	wait, err := time.ParseDuration(query.Get("wait"))
	if err != nil {
		wait = time.Minute
	}
	_, recurse := query["recurse"]
	late := time.After(wait)
	s.mu.Lock()
	defer s.mu.Unlock()
	for waits := true; waits && s.index <= seen; {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-late:
			waits = false
		case <-r.Context().Done():
			waits = false
		}
		s.mu.Lock()
	}
	found := []*pair{}
	for _, p := range s.pairs {
		if p.Key == key || recurse && strings.HasPrefix(p.Key, key) {
			found = append(found, p)
		}
	}
	w.Header().Set("X-Consul-Index", strconv.FormatUint(s.index, 10))
	w.Header().Set("X-Consul-LastContact", "0")
	w.Header().Set("X-Consul-KnownLeader", "true")
	if len(found) == 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(found)
}

func (s *standIn) create(w http.ResponseWriter, r *http.Request) {
	asked := struct{ TTL string }{}
	err := json.NewDecoder(r.Body).Decode(&asked)
	ttl, bad := time.ParseDuration(asked.TTL)
	if err != nil || bad != nil || ttl < 10*time.Second {
		http.Error(w, "Invalid Session TTL: must be between [10s=24h]", http.StatusInternalServerError)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fmt.Sprintf("session-%d", s.change())
	s.sessions[id] = &session{ID: id, TTL: asked.TTL, ends: time.AfterFunc(ttl, func() { s.end(id) })}
	_ = json.NewEncoder(w).Encode(map[string]string{"ID": id})
}

func (s *standIn) renew(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.sessions[strings.TrimPrefix(r.URL.Path, "/v1/session/renew/")]
	if known == nil {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	ttl, _ := time.ParseDuration(known.TTL)
	known.ends.Reset(ttl)
	_ = json.NewEncoder(w).Encode([]*session{known})
}

func (s *standIn) destroy(w http.ResponseWriter, r *http.Request) {
	s.end(strings.TrimPrefix(r.URL.Path, "/v1/session/destroy/"))
	fmt.Fprint(w, "true")
}

// end ends a session, and with it all keys that it has locked.
func (s *standIn) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.sessions[id]; known != nil {
		known.ends.Stop()
	}
	delete(s.sessions, id)
	for key, p := range s.pairs {
		if p.Session == id {
			delete(s.pairs, key)
		}
	}
	s.change()
}
