package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
)

// configuration: settings under a prefix, read in pages, changed by compare and swap, watched by those who use them.
func configuration(ctx context.Context, client *clientv3.Client) {
	const settings = 25
	var last int64
	for n := range settings {
		put, err := client.Put(ctx, fmt.Sprintf("config/%02d", n), fmt.Sprint(n))
		must(err, "put")
		last = put.Header.Revision
	}
	watched := client.Watch(ctx, "config/", clientv3.WithPrefix(), clientv3.WithRev(last+1), clientv3.WithPrevKV())

	// All of them, in pages of one revision.
	var names []string
	from := "config/"
	for {
		page, err := client.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd("config/")), clientv3.WithLimit(10), clientv3.WithRev(last))
		must(err, "page")
		check(page.Count == int64(settings-len(names)), "count %d with %d read", page.Count, len(names))
		for _, kv := range page.Kvs {
			names = append(names, string(kv.Key))
		}
		if !page.More {
			break
		}
		from = names[len(names)-1] + "\x00"
	}
	check(len(names) == settings, "%d settings in pages", len(names))

	// Two want to change the same setting, one does.
	swap := func(old, value string) bool {
		txn, err := client.Txn(ctx).
			If(clientv3.Compare(clientv3.Value("config/03"), "=", old)).
			Then(clientv3.OpPut("config/03", value)).
			Else(clientv3.OpGet("config/03")).
			Commit()
		must(err, "txn")
		return txn.Succeeded
	}
	check(swap("3", "three"), "the first swap fails")
	check(!swap("3", "drei"), "the second swap succeeds")
	deleted, err := client.Delete(ctx, "config/1", clientv3.WithPrefix(), clientv3.WithPrevKV())
	must(err, "delete")
	check(deleted.Deleted == 10 && len(deleted.PrevKvs) == 10, "%d deleted", deleted.Deleted)

	var seen []*clientv3.Event
	for len(seen) < 11 {
		response := <-watched
		must(response.Err(), "watch")
		seen = append(seen, response.Events...)
	}
	check(seen[0].IsModify() && string(seen[0].PrevKv.Value) == "3", "the swap is watched as %v", seen[0])
	for n, event := range seen[1:] {
		check(event.Type == clientv3.EventTypeDelete && string(event.PrevKv.Value) == fmt.Sprint(10+n), "event %d is %v", n, event)
		check(event.Kv.ModRevision == deleted.Header.Revision, "a delete of its own revision: %v", event)
	}
	compacted(ctx, client, last)
}

// compacted: who comes too late for history is told so, by the client's own errors.
func compacted(ctx context.Context, client *clientv3.Client, revision int64) {
	_, err := client.Compact(ctx, revision, clientv3.WithCompactPhysical())
	must(err, "compact")
	_, err = client.Compact(ctx, revision)
	check(errors.Is(err, rpctypes.ErrCompacted), "compacting again: %v", err)
	_, err = client.Get(ctx, "config/00", clientv3.WithRev(revision-1))
	check(errors.Is(err, rpctypes.ErrCompacted), "reading the past: %v", err)
	_, err = client.Get(ctx, "config/00", clientv3.WithRev(revision+1000))
	check(errors.Is(err, rpctypes.ErrFutureRev), "reading the future: %v", err)
	late := <-client.Watch(ctx, "config/", clientv3.WithPrefix(), clientv3.WithRev(2))
	check(late.Canceled && late.CompactRevision == revision, "watching the past: %+v", late)
	check(errors.Is(late.Err(), rpctypes.ErrCompacted), "watching the past: %v", late.Err())
	_, err = client.Put(ctx, "", "")
	check(errors.Is(err, rpctypes.ErrEmptyKey), "a put without a key: %v", err)
}

// kubernetesStore: the interface that the Kubernetes API server uses.
func kubernetesStore(ctx context.Context, plain *clientv3.Client) {
	client, err := kubernetes.New(clientv3.Config{Endpoints: plain.Endpoints(), Context: ctx})
	must(err, "kubernetes client")
	defer client.Close()
	revisions := map[string]int64{}
	for n := range 40 {
		key := fmt.Sprintf("/registry/pods/%02d", n)
		put, err := client.Kubernetes.OptimisticPut(ctx, key, []byte("created"), 0, kubernetes.PutOptions{})
		must(err, "create")
		check(put.Succeeded, "create %s", key)
		revisions[key] = put.Revision
	}
	key := "/registry/pods/07"
	stale, err := client.Kubernetes.OptimisticPut(ctx, key, []byte("stale"), 1, kubernetes.PutOptions{GetOnFailure: true})
	must(err, "stale update")
	check(!stale.Succeeded && stale.KV.ModRevision == revisions[key], "a stale update gives %+v", stale)
	fresh, err := client.Kubernetes.OptimisticPut(ctx, key, []byte("fresh"), revisions[key], kubernetes.PutOptions{GetOnFailure: true})
	must(err, "update")
	check(fresh.Succeeded && fresh.Revision > revisions[key], "an update gives %+v", fresh)
	gone, err := client.Kubernetes.OptimisticDelete(ctx, "/registry/pods/08", revisions["/registry/pods/08"], kubernetes.DeleteOptions{})
	must(err, "delete")
	check(gone.Succeeded, "a delete gives %+v", gone)

	var listed int
	options := kubernetes.ListOptions{Limit: 15}
	for {
		page, err := client.Kubernetes.List(ctx, "/registry/pods/", options)
		must(err, "list")
		listed += len(page.Kvs)
		if page.Count == int64(len(page.Kvs)) {
			break
		}
		options.Continue = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
		options.Revision = page.Revision
	}
	count, err := client.Kubernetes.Count(ctx, "/registry/pods/", kubernetes.CountOptions{})
	must(err, "count")
	check(listed == 39 && count == 39, "%d listed, %d counted", listed, count)
	got, err := client.Kubernetes.Get(ctx, key, kubernetes.GetOptions{})
	must(err, "get")
	check(string(got.KV.Value) == "fresh", "get gives %+v", got)
}

// cluster: what tools ask about the members.
func cluster(ctx context.Context, client *clientv3.Client) {
	members, err := client.MemberList(ctx)
	must(err, "members")
	check(len(members.Members) == 1 && members.Members[0].Name == "default", "members: %v", members.Members)
	must(client.Sync(ctx), "sync of endpoints")
	endpoint := client.Endpoints()[0]
	status, err := client.Status(ctx, endpoint)
	must(err, "status")
	check(status.Leader == members.Members[0].ID && !status.IsLearner && len(status.Errors) == 0, "status: %v", status)
	hash, err := client.HashKV(ctx, endpoint, 0)
	must(err, "hash")
	check(hash.HashRevision == hash.Header.Revision, "hash: %v", hash)
	alarms, err := client.AlarmList(ctx)
	must(err, "alarms")
	check(len(alarms.Alarms) == 0, "alarms: %v", alarms.Alarms)
}

// members: changes of the cluster that are refused by the client's own errors.
func members(ctx context.Context, client *clientv3.Client) {
	_, err := client.MemberRemove(ctx, 1)
	check(errors.Is(err, rpctypes.ErrMemberNotFound), "removing nobody: %v", err)
	_, err = client.MemberPromote(ctx, 1)
	check(errors.Is(err, rpctypes.ErrMemberNotFound), "promoting nobody: %v", err)
	_, err = client.MemberUpdate(ctx, 1, []string{"http://127.0.0.1:1"})
	check(errors.Is(err, rpctypes.ErrMemberNotFound), "updating nobody: %v", err)
	_, err = client.MemberAdd(ctx, []string{"nonsense"})
	check(err != nil, "a member without a URL is added")
}

// survive: the server is killed and started again in the middle; the client's watch goes on without a gap or a repetition.
func survive(ctx context.Context, client *clientv3.Client) {
	const total = 200
	watched := client.Watch(ctx, "survive/", clientv3.WithPrefix())
	written := make(chan struct{})
	go func() {
		defer close(written)
		for n := range total {
			if n == total/2 {
				fmt.Println("halfway")
			}
			putOnce(ctx, client, fmt.Sprintf("survive/%03d", n))
		}
	}()
	for n := 0; n < total; {
		response, open := <-watched
		check(open, "the watch ended")
		must(response.Err(), "watch")
		for _, event := range response.Events {
			check(string(event.Kv.Key) == fmt.Sprintf("survive/%03d", n), "event %d is of %s", n, event.Kv.Key)
			check(event.IsCreate(), "%s was written twice", event.Kv.Key)
			n++
		}
	}
	<-written
}

// putOnce creates a key, whatever happens to the connection: an attempt without an answer may have been carried out.
func putOnce(ctx context.Context, client *clientv3.Client, key string) {
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := client.Txn(attempt).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).Then(clientv3.OpPut(key, "")).Commit()
		cancel()
		if err == nil {
			return
		}
		must(ctx.Err(), "put of "+key)
		time.Sleep(10 * time.Millisecond)
	}
}
