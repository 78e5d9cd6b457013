"""Drives a server with a Python client (aetcd) as users' programs do: keys, transactions, watches, leases, a lock.

    python scenario.py PORT

Ends with a traceback when something is not as the client's documentation promises.
"""

import asyncio
import sys

import aetcd


async def keys(client):
    await client.put(b"config/a", b"1")
    await client.put(b"config/b", b"2")
    replaced = await client.put(b"config/a", b"3", prev_kv=True)
    assert replaced.prev_kv.value == b"1", replaced
    assert (await client.get(b"config/a")).value == b"3"
    assert await client.get(b"config/none") is None
    found = [(kv.key, kv.value) async for kv in as_iterator(await client.get_prefix(b"config/", sort_order="descend"))]
    assert found == [(b"config/b", b"2"), (b"config/a", b"3")], found
    assert await client.replace(b"config/b", b"2", b"4")
    assert not await client.replace(b"config/b", b"2", b"5")
    deleted = await client.delete_prefix(b"config/")
    assert deleted.deleted == 2, deleted


async def as_iterator(result):
    for kv in result:
        yield kv


async def transactions(client):
    await client.put(b"account", b"10")
    compare = [client.transactions.value(b"account") == b"10", client.transactions.version(b"account") > 0]
    success = [client.transactions.put(b"account", b"9"), client.transactions.get(b"account")]
    failure = [client.transactions.get(b"account")]
    is_done, _ = await client.transaction(compare, success, failure)
    assert is_done
    is_done, answers = await client.transaction(compare, success, failure)
    assert not is_done and answers[0][0][0] == b"9", answers


async def watches(client):
    watch = await client.watch_prefix(b"events/", prev_kv=True)
    for value in [b"1", b"2"]:
        await client.put(b"events/x", value)
    await client.delete(b"events/x")
    seen = []
    async for event in watch:
        previous = event.prev_kv.value if event.prev_kv else None
        seen.append((event.kind, event.kv.value, previous))
        if len(seen) == 3:
            break
    await watch.cancel()
    assert [kind for kind, _, _ in seen] == ["PUT", "PUT", "DELETE"], seen
    assert [value for _, value, _ in seen[:2]] == [b"1", b"2"], seen
    assert seen[2][2] == b"2", seen


async def leases(client):
    lease = await client.lease(2)
    await client.put(b"service", b"up", lease=lease)
    assert await lease.keys() == [b"service"]
    assert (await lease.refresh()).TTL == 2
    gone = await client.watch_once(b"service", timeout=60, kind=aetcd.rtypes.EventKind.DELETE)
    assert gone.kv.key == b"service", gone
    assert await client.get(b"service") is None
    held = await client.lease(1000)
    await client.put(b"held", b"", lease=held)
    await held.revoke()
    assert await client.get(b"held") is None


async def lock(client):
    total = 0

    async def work():
        nonlocal total
        async with client.lock(b"lock", ttl=30):
            before = total
            await client.put(b"under-lock", str(before).encode())
            total = before + 1

    await asyncio.gather(*(work() for _ in range(5)))
    assert total == 5, total


async def main(port):
    async with aetcd.Client("127.0.0.1", port) as client:
        for scenario in [keys, transactions, watches, leases, lock]:
            await asyncio.wait_for(scenario(client), 120)
            print(scenario.__name__)
        assert (await client.status()).version.startswith("3.")
        assert len([member async for member in client.members()]) == 1
    print("done")


asyncio.run(main(int(sys.argv[1])))
