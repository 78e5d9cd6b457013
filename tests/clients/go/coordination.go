package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// registration: services keep their entries alive by leases; one that stops disappears.
func registration(ctx context.Context, client *clientv3.Client) {
	watched := client.Watch(ctx, "services/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	register := func(name string) (clientv3.LeaseID, context.CancelFunc, <-chan *clientv3.LeaseKeepAliveResponse) {
		lease, err := client.Grant(ctx, 3)
		must(err, "grant")
		check(lease.TTL == 3, "a TTL of %d", lease.TTL)
		_, err = client.Put(ctx, "services/"+name, "10.0.0.1:80", clientv3.WithLease(lease.ID))
		must(err, "put")
		alive, stop := context.WithCancel(ctx)
		kept, err := client.KeepAlive(alive, lease.ID)
		must(err, "keepalive")
		return lease.ID, stop, kept
	}
	staying, stopStaying, keptStaying := register("staying")
	defer stopStaying()
	leaving, stopLeaving, keptLeaving := register("leaving")
	<-keptLeaving
	stopLeaving()

	for isGone := false; !isGone; {
		response := <-watched
		must(response.Err(), "watch")
		for _, event := range response.Events {
			check(event.Type == clientv3.EventTypePut || string(event.Kv.Key) == "services/leaving", "event %v", event)
			isGone = isGone || event.Type == clientv3.EventTypeDelete
		}
	}
	life, err := client.TimeToLive(ctx, leaving)
	must(err, "time to live")
	check(life.TTL == -1, "the expired lease lives for %d", life.TTL)
	_, err = client.KeepAliveOnce(ctx, leaving)
	check(errors.Is(err, rpctypes.ErrLeaseNotFound), "keeping an expired lease: %v", err)

	// The other one has outlived its TTL, since it is kept alive.
	for range 3 {
		kept := <-keptStaying
		check(kept != nil && kept.TTL == 3, "kept alive: %v", kept)
	}
	life, err = client.TimeToLive(ctx, staying, clientv3.WithAttachedKeys())
	must(err, "time to live")
	check(life.TTL > 0 && len(life.Keys) == 1 && string(life.Keys[0]) == "services/staying", "the lease that stays: %v", life)
	_, err = client.Revoke(ctx, staying)
	must(err, "revoke")
	left, err := client.Get(ctx, "services/", clientv3.WithPrefix())
	must(err, "get")
	check(left.Count == 0, "%d services left", left.Count)
}

// mutex: a counter that is read and written in two steps, by several sessions, under one lock.
func mutex(ctx context.Context, client *clientv3.Client) {
	const workers, rounds = 5, 10
	_, err := client.Put(ctx, "counter", "0")
	must(err, "put")
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			session, err := concurrency.NewSession(client, concurrency.WithTTL(20), concurrency.WithContext(ctx))
			must(err, "session")
			defer session.Close()
			lock := concurrency.NewMutex(session, "lock/counter")
			for range rounds {
				must(lock.Lock(ctx), "lock")
				read, err := client.Get(ctx, "counter")
				must(err, "get")
				value, err := strconv.Atoi(string(read.Kvs[0].Value))
				must(err, "a number")
				_, err = client.Put(ctx, "counter", strconv.Itoa(value+1))
				must(err, "put")
				must(lock.Unlock(ctx), "unlock")
			}
		})
	}
	all.Wait()
	read, err := client.Get(ctx, "counter")
	must(err, "get")
	check(string(read.Kvs[0].Value) == strconv.Itoa(workers*rounds), "the counter is %s", read.Kvs[0].Value)

	// A lock that is held is refused to others, until its session ends.
	holder, err := concurrency.NewSession(client, concurrency.WithTTL(20))
	must(err, "session")
	other, err := concurrency.NewSession(client, concurrency.WithTTL(20))
	must(err, "session")
	defer other.Close()
	must(concurrency.NewMutex(holder, "lock/held").Lock(ctx), "lock")
	wanted := concurrency.NewMutex(other, "lock/held")
	err = wanted.TryLock(ctx)
	check(errors.Is(err, concurrency.ErrLocked), "a held lock: %v", err)
	must(holder.Close(), "close")
	must(wanted.Lock(ctx), "lock after the holder is gone")
}

// election: one leader at a time, followed by those who observe.
func election(ctx context.Context, client *clientv3.Client) {
	session := func() *concurrency.Session {
		session, err := concurrency.NewSession(client, concurrency.WithTTL(20))
		must(err, "session")
		return session
	}
	first, second, observer := session(), session(), session()
	defer second.Close()
	defer observer.Close()
	one, two := concurrency.NewElection(first, "election"), concurrency.NewElection(second, "election")
	seat := concurrency.NewElection(observer, "election")
	_, err := seat.Leader(ctx)
	check(errors.Is(err, concurrency.ErrElectionNoLeader), "a leader before the election: %v", err)

	must(one.Campaign(ctx, "one"), "campaign")
	observed := seat.Observe(ctx)
	expect := func(value string) {
		response, open := <-observed
		check(open && string(response.Kvs[0].Value) == value, "observed %v instead of %s", response.Kvs, value)
	}
	expect("one")
	won := make(chan error, 1)
	go func() { won <- two.Campaign(ctx, "two") }()
	must(one.Proclaim(ctx, "one again"), "proclaim")
	expect("one again")
	select {
	case err := <-won:
		fail("two leaders: %v", err)
	default:
	}
	must(first.Close(), "the first leader ends")
	must(<-won, "campaign of the second")
	expect("two")
	leader, err := seat.Leader(ctx)
	must(err, "leader")
	check(string(leader.Kvs[0].Value) == "two", "the leader is %s", leader.Kvs[0].Value)
	check(errors.Is(one.Proclaim(ctx, "back"), concurrency.ErrElectionNotLeader), "the first one still leads")
	must(two.Resign(ctx), "resign")
}

// stm: money moves between accounts by software transactional memory; none is made or lost.
func stm(ctx context.Context, client *clientv3.Client) {
	const accounts, workers, transfers = 4, 4, 25
	account := func(n int) string { return fmt.Sprintf("account/%d", n%accounts) }
	for n := range accounts {
		_, err := client.Put(ctx, account(n), "100")
		must(err, "put")
	}
	balance := func(text string) int {
		value, err := strconv.Atoi(text)
		must(err, "a balance")
		return value
	}
	levels := []concurrency.Isolation{concurrency.SerializableSnapshot, concurrency.Serializable, concurrency.RepeatableReads}
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			for n := range transfers {
				from, to := account(worker+n), account(worker+n+1+n%2)
				move := func(stm concurrency.STM) error {
					stm.Put(from, strconv.Itoa(balance(stm.Get(from))-1))
					stm.Put(to, strconv.Itoa(balance(stm.Get(to))+1))
					return nil
				}
				_, err := concurrency.NewSTM(client, move, concurrency.WithIsolation(levels[n%len(levels)]), concurrency.WithAbortContext(ctx))
				must(err, "transfer")
			}
		})
	}
	all.Wait()
	read, err := client.Get(ctx, "account/", clientv3.WithPrefix())
	must(err, "get")
	var total int
	var changes int64
	for _, kv := range read.Kvs {
		total += balance(string(kv.Value))
		changes += kv.Version - 1
	}
	check(total == 100*accounts, "%d in all accounts", total)
	check(changes == 2*workers*transfers, "%d changes of accounts", changes)
}
