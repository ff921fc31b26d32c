// SPDX-License-Identifier: MIT

// The cases of `bench/run core --peers` as a Go program would do them: a goroutine where coil has a
// fiber, Go's own channels, locks and timers. One core (GOMAXPROCS=1), as coil has one thread; the
// case xchan takes two. Prints what measure.c prints, in CPU time of the whole process, so that the
// work of Go's collector counts.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

func now() int64 {
	var t syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 2, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func scaled(taken int64, operations, count int) int64 {
	return taken * int64(count) / int64(operations)
}

func yieldAmong(goroutines, count int) int64 {
	over := false
	var group sync.WaitGroup
	for i := 1; i < goroutines; i++ {
		group.Add(1)
		go func() {
			for !over {
				runtime.Gosched()
			}
			group.Done()
		}()
	}
	runtime.Gosched()
	start := now()
	for i := 0; i < count; i += goroutines {
		runtime.Gosched()
	}
	taken := now() - start
	over = true
	group.Wait()
	return taken
}

func spawnJoin(count int) int64 {
	start := now()
	for i := 0; i < count; i++ {
		done := make(chan int, 1)
		go func() { done <- 0 }()
		<-done
	}
	return now() - start
}

func spawnJoin64(count int) int64 {
	start := now()
	for i := 0; i < count; i += 64 {
		var group sync.WaitGroup
		group.Add(64)
		for k := 0; k < 64; k++ {
			go group.Done()
		}
		group.Wait()
	}
	return now() - start
}

func pingPong(count, capacity int) int64 {
	there := make(chan uint64, capacity)
	back := make(chan uint64, capacity)
	go func() {
		for i := 0; i < count; i += 2 {
			back <- <-there + 1
		}
	}()
	runtime.Gosched()
	start := now()
	for i := 0; i < count; i += 2 {
		there <- uint64(i)
		<-back
	}
	return now() - start
}

func stream(count int) int64 {
	items := make(chan uint64, 64)
	go func() {
		for i := 0; i < count; i++ {
			items <- uint64(i)
		}
		close(items)
	}()
	start := now()
	for range items {
	}
	return now() - start
}

func receive8(c *[8]chan uint64) {
	select {
	case <-c[0]:
	case <-c[1]:
	case <-c[2]:
	case <-c[3]:
	case <-c[4]:
	case <-c[5]:
	case <-c[6]:
	case <-c[7]:
	}
}

// A sender for each channel.
func select8(count int) int64 {
	var c [8]chan uint64
	for i := range c {
		c[i] = make(chan uint64)
		go func(c chan uint64) {
			for i := 0; i < count; i += 8 {
				c <- uint64(i)
			}
		}(c[i])
	}
	start := now()
	for i := 0; i < count; i++ {
		receive8(&c)
	}
	return now() - start
}

// One sender goes round and waits for an answer, so that each select waits.
func select8Parks(count int) int64 {
	var c [8]chan uint64
	for i := range c {
		c[i] = make(chan uint64)
	}
	answers := make(chan uint64)
	go func() {
		for i := 0; i < count; i++ {
			c[i%8] <- uint64(i)
			<-answers
		}
	}()
	start := now()
	for i := 0; i < count; i++ {
		receive8(&c)
		answers <- 0
	}
	return now() - start
}

// Each goroutine asks again as soon as it has unlocked; Go lets it overtake the one that waits.
func mutexContended(count int) int64 {
	var mutex sync.Mutex
	var group sync.WaitGroup
	contend := func() {
		for i := 0; i < count; i += 2 {
			mutex.Lock()
			runtime.Gosched()
			mutex.Unlock()
		}
		group.Done()
	}
	group.Add(2)
	start := now()
	go contend()
	go contend()
	group.Wait()
	return now() - start
}

// A channel of permits, which is what Go programs use.
func semHandOver(count int) int64 {
	mine := make(chan struct{}, 1)
	theirs := make(chan struct{}, 1)
	go func() {
		for i := 0; i < count; i += 2 {
			<-theirs
			mine <- struct{}{}
		}
	}()
	runtime.Gosched()
	start := now()
	for i := 0; i < count; i += 2 {
		theirs <- struct{}{}
		<-mine
	}
	return now() - start
}

// Results in input order with at most 200 items under way: a queue of one channel per item.
func imap(count int) int64 {
	const workers = 200
	const items = 100000
	queue := make(chan chan int, workers)
	start := now()
	go func() {
		for i := 0; i < items; i++ {
			result := make(chan int, 1)
			queue <- result
			go func(item int) {
				runtime.Gosched()
				result <- item
			}(i)
		}
		close(queue)
	}()
	next := 0
	for result := range queue {
		if <-result != next {
			check(fmt.Errorf("out of order"))
		}
		next++
	}
	return scaled(now()-start, items, count)
}

func timerCancel(count int) int64 {
	start := now()
	for i := 0; i < count; i++ {
		time.AfterFunc(30*time.Second, func() {}).Stop()
	}
	return now() - start
}

func timerMillion(count int) int64 {
	const timers = 1000000
	armed := make([]*time.Timer, timers)
	start := now()
	for i := range armed {
		after := 3600*time.Second + time.Duration(i*7919%timers)*time.Microsecond
		armed[i] = time.AfterFunc(after, func() {})
	}
	for i := timers - 1; i >= 0; i-- {
		armed[i].Stop()
	}
	return scaled(now()-start, timers, count)
}

func timerExpiry(count int) int64 {
	const sleepers = 100000
	var group sync.WaitGroup
	group.Add(sleepers)
	start := now()
	for i := 0; i < sleepers; i++ {
		go func(i int) {
			time.Sleep(100*time.Millisecond + time.Duration(i*7919%50000)*time.Microsecond)
			group.Done()
		}(i)
	}
	group.Wait()
	return scaled(now()-start, sleepers, count)
}

func oneWay(count, capacity int) int64 {
	items := make(chan uint64, capacity)
	start := now()
	go func() {
		for i := 0; i < count; i++ {
			items <- uint64(i)
		}
		close(items)
	}()
	for range items {
	}
	return now() - start
}

func processSpawn(count int) int64 {
	const processes = 100
	start := now()
	for i := 0; i < processes; i++ {
		// Inherited, as coil's are: Go would open /dev/null three times.
		command := exec.Command("/bin/true")
		command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
		check(command.Run())
	}
	return scaled(now()-start, processes, count)
}

func udpEcho(count int) int64 {
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	check(err)
	go func() {
		var data [64]byte
		for {
			n, from, err := server.ReadFromUDPAddrPort(data[:])
			if err != nil {
				return
			}
			server.WriteToUDPAddrPort(data[:n], from)
		}
	}()
	client, err := net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
	check(err)
	const datagrams = 20000
	var data [64]byte
	start := now()
	for i := 0; i < datagrams; i += 2 {
		_, err := client.Write(data[:])
		check(err)
		_, err = client.Read(data[:])
		check(err)
	}
	taken := now() - start
	client.Close()
	server.Close()
	return scaled(taken, datagrams, count)
}

// 32 readers of 4 KiB each, of a file in the page cache.
func fileRead32(count int) int64 {
	const readers = 32
	const blocks = 1024
	const reads = 32 * 1024
	file, err := os.CreateTemp("", "peer")
	check(err)
	check(os.Remove(file.Name()))
	defer file.Close()
	_, err = file.WriteString(strings.Repeat("x", blocks*4096))
	check(err)
	var group sync.WaitGroup
	group.Add(readers)
	start := now()
	for r := 0; r < readers; r++ {
		go func(r int) {
			var block [4096]byte
			for i := r; i < reads; i += readers {
				_, err := file.ReadAt(block[:], int64(i%blocks)*4096)
				check(err)
			}
			group.Done()
		}(r)
	}
	group.Wait()
	return scaled(now()-start, reads, count)
}

func main() {
	count := flag.Int("count", 200000, "operations in a repetition")
	repeat := flag.Int("repeat", 21, "repetitions")
	only := flag.String("only", "", "cases to run, by name")
	flag.Parse()
	if flag.NArg() > 0 || *count < 1 || *repeat < 1 {
		flag.Usage()
		os.Exit(2)
	}
	cases := []struct {
		name string
		run  func(count int) int64
	}{
		{"yield_2", func(count int) int64 { return yieldAmong(2, count) }},
		{"yield_64", func(count int) int64 { return yieldAmong(64, count) }},
		{"yield_10000", func(count int) int64 { return yieldAmong(10000, count) }},
		{"spawn_join", spawnJoin},
		{"spawn_join_64", spawnJoin64},
		{"chan_ping_pong", func(count int) int64 { return pingPong(count, 0) }},
		{"chan_ping_pong_1", func(count int) int64 { return pingPong(count, 1) }},
		{"chan_stream", stream},
		{"select_8", select8},
		{"select_8_parks", select8Parks},
		{"mutex_contended", mutexContended},
		{"sem_hand_over", semHandOver},
		{"imap", imap},
		{"timer", timerCancel},
		{"timer_million", timerMillion},
		{"timer_expiry", timerExpiry},
		{"xchan_stream", func(count int) int64 { return oneWay(count, 256) }},
		{"xchan_rendezvous", func(count int) int64 { return oneWay(count, 0) }},
		{"process_spawn", processSpawn},
		{"udp_echo", udpEcho},
		{"file_read_32", fileRead32},
	}
	separator := ""
	fmt.Print("{")
	for _, one := range cases {
		if *only != "" && *only != one.name {
			continue
		}
		cores := 1
		if strings.HasPrefix(one.name, "xchan") {
			cores = 2
		}
		runtime.GOMAXPROCS(cores)
		fmt.Printf("%s\"%s\": [", separator, one.name)
		separator = ", "
		for i := 0; i <= *repeat; i++ {
			ns := float64(one.run(*count)) / float64(*count)
			if i > 0 {
				fmt.Printf("%s%.3f", map[bool]string{true: ", "}[i > 1], ns)
			}
		}
		fmt.Print("]")
	}
	fmt.Println("}")
}
