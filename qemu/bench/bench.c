// SPDX-License-Identifier: GPL-2.0
/*
 * What a connection tracker costs, whichever is loaded, or none: sends the packets of many
 * connections through the hooks and tells what they have cost.
 *
 * /proc/ip_conntrack_bench: one command is written, a line is read: its results, NAME=NUMBER each.
 *
 *   load id= protocol=udp|tcp|icmp ipv6= first= flows=    what the commands below mean by id=
 *   send id= phase=open|rest|data|close rounds= timed= tracked=   packets of each connection
 *   parallel id= cpus= rounds= shared=                    data, by as many CPUs at once
 *   pace id= open= every= period= tracked=                from now on, a packet each PERIOD ns
 *   stop                                                  no more of these, and what they cost
 *   next                                                  what follows is profiled by itself
 *   busy                                                  how long the CPU (of one) was not idle
 *
 * "tracked": packets that are not classified as they should be are counted as wrong.
 */
#include <linux/completion.h>
#include <linux/hrtimer.h>
#include <linux/in.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "busy.h"
#include "load.h"
#include "marks.h"

#define LOADS		8
#define MOST_CPUS	8
#define ANSWER_MOST	1024

static DEFINE_MUTEX(lock);
static struct load loads[LOADS];
static struct sender foreground;
static char answer[ANSWER_MOST];
static size_t answered;

__printf(1, 2) static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	answered += vscnprintf(answer + answered, sizeof(answer) - answered, format, args);
	va_end(args);
}

/* The cost that PARTS of 1000 packets do not exceed. */
static u64 quantile(const struct costs *costs, u32 parts)
{
	u64 wanted = DIV_ROUND_UP_ULL(costs->packets * parts, 1000), seen = 0;

	for (u32 cost = 0; cost < FINE - 1; cost++) {
		seen += costs->fine[cost];
		if (seen >= wanted)
			return cost;
	}
	return costs->worst;
}

static void say_costs(const char *of, const struct costs *costs)
{
	say("%spackets=%llu %swrong=%llu ", of, costs->packets, of, costs->wrong);
	if (!costs->packets || !costs->fine)
		return;
	say("%ssum=%llu %sp50=%llu %sp99=%llu %sp999=%llu %sworst=%llu ", of, costs->sum, of,
	    quantile(costs, 500), of, quantile(costs, 990), of, quantile(costs, 999), of, costs->worst);
}

/* What a command is told. */
struct options {
	u32 id, protocol, ipv6, first, flows, phase, rounds, timed, tracked, cpus, shared, open, every, period;
};

static const char *const protocols[] = { "udp", "tcp", "icmp", NULL };
static const u8 protocol_numbers[] = { IPPROTO_UDP, IPPROTO_TCP, IPPROTO_ICMP };
static const char *const phases[] = { "open", "rest", "data", "close", NULL };

static const struct option {
	const char *name;
	size_t at;
	const char *const *words;	/* instead of a number */
} option_table[] = {
#define NUMBER(name)	{ #name, offsetof(struct options, name), NULL }
	NUMBER(id), NUMBER(ipv6), NUMBER(first), NUMBER(flows), NUMBER(rounds), NUMBER(timed),
	NUMBER(tracked), NUMBER(cpus), NUMBER(shared), NUMBER(open), NUMBER(every), NUMBER(period),
	{ "protocol", offsetof(struct options, protocol), protocols },
	{ "phase", offsetof(struct options, phase), phases },
};

static int take_option(struct options *options, const char *name, const char *value)
{
	int word;

	for (const struct option *option = option_table; option < option_table + ARRAY_SIZE(option_table); option++) {
		u32 *number = (void *)options + option->at;

		if (strcmp(option->name, name))
			continue;
		if (!option->words)
			return kstrtou32(value, 0, number);
		word = match_string(option->words, -1, value);
		*number = word;
		return word < 0 ? word : 0;
	}
	return -EINVAL;
}

static struct load *load_of(const struct options *options)
{
	return options->id < LOADS && loads[options->id].flows ? &loads[options->id] : NULL;
}

static int do_load(const struct options *options)
{
	if (options->id >= LOADS || !options->flows)
		return -EINVAL;
	loads[options->id] = (struct load) {
		.protocol = protocol_numbers[options->protocol],
		.ipv6 = options->ipv6,
		.first = options->first,
		.flows = options->flows,
	};
	return 0;
}

static int do_send(const struct options *options)
{
	struct load *load = load_of(options);
	ktime_t begin = ktime_get();
	int err = 0;

	if (!load)
		return -EINVAL;
	sender_reset(&foreground);
	foreground.timed = options->timed;
	foreground.tracked = options->tracked;
	for (u32 round = 0; !err && round < options->rounds; round++) {
		err = load_run(load, &foreground, options->phase, 0, load->flows);
		if (options->phase == PHASE_DATA)
			load->round++;
	}
	say("ns=%llu ", ktime_to_ns(ktime_sub(ktime_get(), begin)));
	say_costs("", &foreground.costs);
	return err;
}

/* Several CPUs at once. */
struct worker {
	struct task_struct *task;
	struct sender sender;
	struct load load;
	enum step step;		/* of shared connections, each worker has its own */
	bool shared;
	u32 from, to, rounds;
	struct completion *ready, *go, *done;
	ktime_t end;
	int err;
};

static int work(void *data)
{
	struct worker *worker = data;

	complete(worker->ready);
	wait_for_completion(worker->go);
	for (u32 round = 0; !worker->err && round < worker->rounds; round++) {
		if (worker->shared) {
			for (u32 place = worker->from; place < worker->to; place++) {
				struct flow flow = load_flow(&worker->load, place);

				send_packet(&worker->sender, &flow, worker->step);
				cond_resched();
			}
		} else {
			worker->err = load_run(&worker->load, &worker->sender, PHASE_DATA, worker->from, worker->to);
		}
		worker->load.round++;
	}
	worker->end = ktime_get();
	complete(worker->done);
	return 0;
}

static int start_worker(struct worker *worker, const struct options *options, struct load *load, u32 cpu)
{
	u32 each = load->flows / options->cpus;
	int err = sender_init(&worker->sender, false);

	if (err)
		return err;
	worker->load = *load;
	worker->sender.tracked = options->tracked;
	worker->rounds = options->rounds;
	worker->shared = options->shared;
	worker->step = cpu % 2 ? STEP_DATA_BACK : STEP_DATA;
	worker->from = options->shared ? 0 : each * cpu;
	worker->to = options->shared ? load->flows : each * (cpu + 1);
	worker->task = kthread_create(work, worker, "bench/%u", cpu);
	if (IS_ERR(worker->task))
		return PTR_ERR(worker->task);
	kthread_bind(worker->task, cpu);
	wake_up_process(worker->task);
	return 0;
}

/*
 * The CPUs share the connections out among them; shared=1: each takes all of them, the first CPU one
 * way and the second the other.
 */
static int do_parallel(const struct options *options)
{
	DECLARE_COMPLETION_ONSTACK(ready);
	DECLARE_COMPLETION_ONSTACK(go);
	DECLARE_COMPLETION_ONSTACK(done);
	struct load *load = load_of(options);
	struct worker *workers;
	u64 packets = 0, wrong = 0;
	ktime_t begin, end = 0;
	u32 started;
	int err = 0;

	if (!load || !options->cpus || options->cpus > min(MOST_CPUS, num_online_cpus()))
		return -EINVAL;
	workers = kcalloc(options->cpus, sizeof(*workers), GFP_KERNEL);
	if (!workers)
		return -ENOMEM;
	for (started = 0; !err && started < options->cpus; started++) {
		workers[started].ready = &ready;
		workers[started].go = &go;
		workers[started].done = &done;
		err = start_worker(&workers[started], options, load, started);
		if (err)
			break;
		wait_for_completion(&ready);
	}
	begin = ktime_get();
	complete_all(&go);
	for (u32 cpu = 0; cpu < started; cpu++)
		wait_for_completion(&done);
	for (u32 cpu = 0; cpu < options->cpus; cpu++) {
		end = max(end, workers[cpu].end);
		packets += workers[cpu].sender.costs.packets;
		wrong += workers[cpu].sender.costs.wrong;
		err = err ?: workers[cpu].err;
		sender_free(&workers[cpu].sender);
	}
	load->round += options->rounds;
	kfree(workers);
	say("ns=%llu packets=%llu wrong=%llu ", ktime_to_ns(ktime_sub(end, begin)), packets, wrong);
	return err;
}

/* Packets at fixed times, in soft interrupts as from a network card. */
static struct pace {
	struct hrtimer timer;
	bool running;
	u64 period;
	struct load *load, *open;	/* open connections; those to be opened, or NULL */
	u32 every;			/* each so manieth packet opens one */
	u64 ticks;
	u32 place, opened;
	enum step step;
	struct sender data, opens;
	struct costs delay;		/* from when a packet was due until it was through */
} pace;

static void pace_open(void)
{
	struct flow flow = load_flow(pace.open, pace.opened++);

	send_packet(&pace.opens, &flow, STEP_OPEN);
}

static void pace_data(void)
{
	struct flow flow = load_flow(pace.load, pace.place);

	send_packet(&pace.data, &flow, pace.step);
	if (++pace.place < pace.load->flows)
		return;
	pace.place = 0;
	pace.load->round += pace.step == STEP_DATA_BACK;
	pace.step = pace.step == STEP_DATA ? STEP_DATA_BACK : STEP_DATA;
}

static void pace_delay(u64 delay)
{
	pace.delay.packets++;
	pace.delay.sum += delay;
	pace.delay.worst = max(pace.delay.worst, delay);
	pace.delay.fine[min_t(u64, delay, FINE - 1)]++;
}

static enum hrtimer_restart pace_tick(struct hrtimer *timer)
{
	ktime_t due = hrtimer_get_expires(timer);

	if (pace.open && pace.opened < pace.open->flows && pace.ticks++ % pace.every == 0)
		pace_open();
	else
		pace_data();
	pace_delay(ktime_to_ns(ktime_sub(ktime_get(), due)));
	hrtimer_forward_now(timer, ns_to_ktime(pace.period));
	return HRTIMER_RESTART;
}

static int do_pace(const struct options *options)
{
	if (pace.running || !load_of(options) || !options->period || options->open >= LOADS)
		return -EINVAL;
	pace.load = load_of(options);
	pace.open = options->every ? &loads[options->open] : NULL;
	pace.every = options->every;
	pace.period = options->period;
	pace.ticks = 0;
	pace.place = 0;
	pace.opened = 0;
	pace.step = STEP_DATA;
	sender_reset(&pace.data);
	sender_reset(&pace.opens);
	memset(pace.delay.fine, 0, FINE * sizeof(*pace.delay.fine));
	pace.delay = (struct costs) { .fine = pace.delay.fine };
	pace.data.timed = true;
	pace.opens.timed = true;
	pace.data.tracked = options->tracked;
	pace.opens.tracked = options->tracked;
	pace.running = true;
	hrtimer_start(&pace.timer, ns_to_ktime(pace.period), HRTIMER_MODE_REL_SOFT);
	return 0;
}

static int do_stop(const struct options *options)
{
	if (!pace.running)
		return -EINVAL;
	hrtimer_cancel(&pace.timer);
	pace.running = false;
	say_costs("", &pace.data.costs);
	say_costs("open_", &pace.opens.costs);
	say_costs("delay_", &pace.delay);
	return 0;
}

static int do_busy(const struct options *options)
{
	say("ns=%llu ", busy_now());
	return 0;
}

/* What follows is profiled by itself. */
static int do_next(const struct options *options)
{
	MARK(MARK_NEXT);
	return 0;
}

/* All is profiled from here on. */
static int do_watch(const struct options *options)
{
	MARK(MARK_BEGIN);
	return 0;
}

/* Up to here. */
static int do_unwatch(const struct options *options)
{
	MARK(MARK_END);
	return 0;
}

static const struct command {
	const char *name;
	int (*act)(const struct options *options);
} commands[] = {
	{ "load", do_load }, { "send", do_send }, { "parallel", do_parallel }, { "pace", do_pace },
	{ "stop", do_stop }, { "busy", do_busy }, { "next", do_next },
	{ "watch", do_watch }, { "unwatch", do_unwatch },
};

static int act(char *text)
{
	struct options options = { .rounds = 1, .timed = 1, .tracked = 1, .cpus = 1 };
	char *name = strsep(&text, " "), *option, *value;
	int err;

	while (text && *text) {
		text = next_arg(text, &option, &value);
		err = value ? take_option(&options, option, value) : -EINVAL;
		if (err)
			return err;
	}
	answered = 0;
	for (const struct command *command = commands; command < commands + ARRAY_SIZE(commands); command++)
		if (!strcmp(command->name, name))
			return command->act(&options);
	return -EINVAL;
}

static ssize_t bench_write(struct file *file, const char __user *from, size_t count, loff_t *ppos)
{
	char *text = memdup_user_nul(from, min(count, 512));
	int err;

	if (IS_ERR(text))
		return PTR_ERR(text);
	mutex_lock(&lock);
	err = act(strim(text));
	mutex_unlock(&lock);
	kfree(text);
	return err ?: count;
}

static ssize_t bench_read(struct file *file, char __user *to, size_t count, loff_t *ppos)
{
	ssize_t ret;

	mutex_lock(&lock);
	ret = simple_read_from_buffer(to, count, ppos, answer, answered);
	mutex_unlock(&lock);
	return ret;
}

static const struct proc_ops operations = {
	.proc_read = bench_read,
	.proc_write = bench_write,
};

static void free_all(void)
{
	busy_exit();
	sender_free(&foreground);
	sender_free(&pace.data);
	sender_free(&pace.opens);
	vfree(pace.delay.fine);
}

static int __init bench_init(void)
{
	pace.delay.fine = vzalloc(FINE * sizeof(*pace.delay.fine));
	hrtimer_setup(&pace.timer, pace_tick, CLOCK_MONOTONIC, HRTIMER_MODE_REL_SOFT);
	if (!pace.delay.fine || sender_init(&foreground, true) || sender_init(&pace.data, true) ||
	    sender_init(&pace.opens, true) || busy_init() || !proc_create("ip_conntrack_bench", 0600, NULL, &operations)) {
		free_all();
		return -ENOMEM;
	}
	return 0;
}

static void __exit bench_exit(void)
{
	remove_proc_entry("ip_conntrack_bench", NULL);
	hrtimer_cancel(&pace.timer);
	free_all();
}

module_init(bench_init);
module_exit(bench_exit);
MODULE_DESCRIPTION("Measures what a connection tracker costs, whichever is loaded");
MODULE_LICENSE("GPL");
