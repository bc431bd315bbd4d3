// SPDX-License-Identifier: GPL-2.0
/*
 * What a tracker does for a connection when no packet is there (timers, work, what it has given to
 * RCU) shows in the time in which the CPU is not idle. The kernel's own account of that goes by
 * ticks; here the time of tasks is taken where they change, and that of soft interrupts that come
 * while the CPU is idle where they begin and end.
 */
#include <linux/ktime.h>
#include <linux/sched.h>
#include <linux/tracepoint.h>

#include "busy.h"

/* With one CPU, what runs when a probe is called has the CPU to itself. */
static u64 busy, since;

static void begin(void)
{
	since = ktime_get_ns();
}

static void end(void)
{
	u64 now = ktime_get_ns();

	busy += now - since;
	since = now;
}

static void on_switch(void *data, bool preempt, struct task_struct *prev, struct task_struct *next,
		      unsigned int prev_state)
{
	if (is_idle_task(prev))
		begin();
	else
		end();
}

static void on_softirq_entry(void *data, unsigned int number)
{
	if (is_idle_task(current))
		begin();
}

static void on_softirq_exit(void *data, unsigned int number)
{
	if (is_idle_task(current))
		end();
}

static struct probe {
	const char *name;
	void *call;
	struct tracepoint *point;
} probes[] = {
	{ "sched_switch", on_switch },
	{ "softirq_entry", on_softirq_entry },
	{ "softirq_exit", on_softirq_exit },
};

static void match(struct tracepoint *point, void *data)
{
	struct probe *probe = data;

	if (!strcmp(point->name, probe->name))
		probe->point = point;
}

int busy_init(void)
{
	begin();
	for (struct probe *probe = probes; probe < probes + ARRAY_SIZE(probes); probe++) {
		for_each_kernel_tracepoint(match, probe);
		if (!probe->point || tracepoint_probe_register(probe->point, probe->call, NULL)) {
			probe->point = NULL;
			busy_exit();
			return -ENOENT;
		}
	}
	return 0;
}

void busy_exit(void)
{
	for (struct probe *probe = probes; probe < probes + ARRAY_SIZE(probes); probe++) {
		if (probe->point)
			tracepoint_probe_unregister(probe->point, probe->call, NULL);
		probe->point = NULL;
	}
	tracepoint_synchronize_unregister();
}

u64 busy_now(void)
{
	u64 now;

	preempt_disable();
	end();
	now = busy;
	preempt_enable();
	return now;
}
