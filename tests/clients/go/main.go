// Drives a server with etcd's Go client, as users' programs do: one scenario per run.
//
//	clients ENDPOINT SCENARIO
//
// The exit code is 0 when everything was as the client's documentation promises; else a line says what was not.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

var scenarios = map[string]func(context.Context, *clientv3.Client){
	"configuration": configuration,
	"registration":  registration,
	"mutex":         mutex,
	"election":      election,
	"stm":           stm,
	"kubernetes":    kubernetesStore,
	"cluster":       cluster,
	"members":       members,
	"survive":       survive,
}

func main() {
	if len(os.Args) != 3 || scenarios[os.Args[2]] == nil {
		fmt.Fprintln(os.Stderr, "usage: clients ENDPOINT SCENARIO")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	client := dial(os.Args[1])
	defer client.Close()
	scenarios[os.Args[2]](ctx, client)
	fmt.Println("done")
}

func dial(endpoint string) *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            []string{endpoint},
		DialTimeout:          10 * time.Second,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 10 * time.Second,
		Logger:               zap.NewNop(),
	})
	must(err, "dial")
	return client
}

// must ends the program when a call failed that should not.
func must(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

// check ends the program when something is not as it should be.
func check(holds bool, format string, args ...any) {
	if !holds {
		fail(format, args...)
	}
}

func fail(format string, args ...any) {
	fmt.Printf("FAILED: "+format+"\n", args...)
	os.Exit(1)
}
