// Makes, changes and lists database files with the real bbolt library.
//
//	bolt make FILE PAGE_SIZE FREELIST SEED   FREELIST: array, hashmap, or none (not stored)
//	bolt list FILE                           what is in it, after a check
//	bolt work FILE SEED                      deletes and puts in many transactions, each checked; then as list
//	bolt compact SOURCE TARGET               prints the size of the target
//
// The listing: `bucket PATH SEQUENCE` and `entry PATH KEY LENGTH FNV-1A`, names and keys in hexadecimal, a path's parts after slashes.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math/rand"
	"os"
	"strconv"

	bolt "go.etcd.io/bbolt"
)

func main() {
	arguments := os.Args[1:]
	var err error
	switch {
	case len(arguments) == 5 && arguments[0] == "make":
		err = makeFile(arguments[1], number(arguments[2]), arguments[3], int64(number(arguments[4])))
	case len(arguments) == 2 && arguments[0] == "list":
		err = list(arguments[1])
	case len(arguments) == 3 && arguments[0] == "work":
		err = work(arguments[1], int64(number(arguments[2])))
	case len(arguments) == 3 && arguments[0] == "compact":
		err = compact(arguments[1], arguments[2])
	default:
		err = fmt.Errorf("unknown: %v", arguments)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return value
}

func bytes(random *rand.Rand, max int) []byte {
	value := make([]byte, random.Intn(max+1))
	for index := range value {
		// No characters of three bytes or more: which of them are printable changes with each release of a language.
		value[index] = byte(random.Intn(0xe0))
	}
	return value
}

func makeFile(path string, pageSize int, freelist string, seed int64) error {
	options := &bolt.Options{PageSize: pageSize, NoSync: true, FreelistType: bolt.FreelistArrayType}
	switch freelist {
	case "hashmap":
		options.FreelistType = bolt.FreelistMapType
	case "none":
		options.NoFreelistSync = true
	}
	database, err := bolt.Open(path, 0o600, options)
	if err != nil {
		return err
	}
	defer database.Close()
	random := rand.New(rand.NewSource(seed))
	for round := range 12 {
		if err := database.Update(func(tx *bolt.Tx) error { return change(tx, random, round) }); err != nil {
			return err
		}
	}
	return nil
}

// change puts and deletes in buckets of every shape.
func change(tx *bolt.Tx, random *rand.Rand, round int) error {
	for _, name := range []string{"many", "large", "small", "empty", "outer", fmt.Sprint("round ", round)} {
		bucket, err := tx.CreateBucketIfNotExists([]byte(name))
		if err != nil {
			return err
		}
		switch name {
		case "many":
			err = puts(bucket, random, 400, 60, 200)
		case "large":
			err = puts(bucket, random, 3, 3000, 300_000)
		case "small":
			err = bucket.Put([]byte("key"), []byte("value"))
		case "outer":
			err = nest(bucket, random, 4)
		}
		if err != nil {
			return err
		}
		if _, err := bucket.NextSequence(); err != nil {
			return err
		}
		if name == "many" || name == "large" {
			if err := deletes(bucket, random, 3); err != nil {
				return err
			}
		}
	}
	if round%3 == 2 {
		return tx.DeleteBucket([]byte(fmt.Sprint("round ", round-1)))
	}
	return nil
}

func nest(bucket *bolt.Bucket, random *rand.Rand, depth int) error {
	if err := puts(bucket, random, depth*depth*2, 30, 100); err != nil || depth == 0 {
		return err
	}
	for index := range 3 {
		inside, err := bucket.CreateBucketIfNotExists([]byte(fmt.Sprint("inside ", index)))
		if err != nil {
			return err
		}
		if err := nest(inside, random, depth-1); err != nil {
			return err
		}
	}
	return nil
}

func puts(bucket *bolt.Bucket, random *rand.Rand, count, key, value int) error {
	for range count {
		if err := bucket.Put(append([]byte{'k'}, bytes(random, key)...), bytes(random, value)); err != nil {
			return err
		}
	}
	return nil
}

// deletes takes one of `share` entries away.
func deletes(bucket *bolt.Bucket, random *rand.Rand, share int) error {
	var gone [][]byte
	err := bucket.ForEach(func(key, value []byte) error {
		if value != nil && random.Intn(share) == 0 {
			gone = append(gone, append([]byte{}, key...))
		}
		return nil
	})
	for _, key := range gone {
		if err := bucket.Delete(key); err != nil {
			return err
		}
	}
	return err
}

func check(database *bolt.DB) error {
	return database.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return nil
	})
}

func list(path string) error {
	database, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer database.Close()
	if err := check(database); err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	return database.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bolt.Bucket) error {
			return listBucket(out, "/"+hex.EncodeToString(name), bucket)
		})
	})
}

func listBucket(out *bufio.Writer, path string, bucket *bolt.Bucket) error {
	fmt.Fprintln(out, "bucket", path, bucket.Sequence())
	return bucket.ForEach(func(key, value []byte) error {
		if value == nil {
			return listBucket(out, path+"/"+hex.EncodeToString(key), bucket.Bucket(key))
		}
		hash := fnv.New64a()
		_, _ = hash.Write(value)
		_, err := fmt.Fprintf(out, "entry %s %x %d %016x\n", path, key, len(value), hash.Sum64())
		return err
	})
}

// work changes a file as etcd does: without a stored free list.
func work(path string, seed int64) error {
	database, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true, NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	random := rand.New(rand.NewSource(seed))
	for round := range 8 {
		err := database.Update(func(tx *bolt.Tx) error {
			return tx.ForEach(func(_ []byte, bucket *bolt.Bucket) error {
				if round%4 == 3 {
					return puts(bucket, random, 50, 30, 100)
				}
				return deletes(bucket, random, 2)
			})
		})
		if err == nil {
			err = check(database)
		}
		if err != nil {
			return err
		}
	}
	if err := database.Close(); err != nil {
		return err
	}
	return list(path)
}

func compact(source, target string) error {
	from, err := bolt.Open(source, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := bolt.Open(target, 0o600, &bolt.Options{NoSync: true, NoFreelistSync: true, PageSize: from.Info().PageSize})
	if err != nil {
		return err
	}
	if err := bolt.Compact(to, from, 0); err != nil {
		return err
	}
	// The pages that are in use; the file itself is set aside in larger pieces.
	var used int64
	err = to.View(func(tx *bolt.Tx) error {
		used = tx.Size() - int64(to.Stats().FreePageN+to.Stats().PendingPageN)*int64(to.Info().PageSize)
		return nil
	})
	fmt.Println(used)
	return err
}
