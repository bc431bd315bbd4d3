// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of QEMU: which instructions the guest executes between two marks that the module of the
 * benchmark makes (marks.h), and how often. At the end it writes, for each block of instructions
 * and each slot in which it was executed: SLOT COUNT ADDRESS... to the file that it is told.
 *
 * Debian has no package with QEMU's header for plugins, so what is used of it is declared here.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "marks.h"

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum callback_flags { CALLBACK_NO_REGISTERS };
typedef void (*translate_callback)(qemu_plugin_id_t id, struct qemu_plugin_tb *block);
typedef void (*execute_callback)(unsigned int cpu, void *data);
typedef void (*exit_callback)(qemu_plugin_id_t id, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, translate_callback call);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, execute_callback call,
					  enum callback_flags flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, execute_callback call,
					    enum callback_flags flags, void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, exit_callback call, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t at);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *to, size_t len);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

EXPORT int qemu_plugin_version = 4;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv);

#define SLOTS 32

struct block {
	struct block *next;
	uint64_t executed[SLOTS];
	size_t count;
	uint64_t address[];
};

static struct block *blocks;
static const char *path;
static bool on;
static unsigned int slot;

static void execute(unsigned int cpu, void *data)
{
	struct block *block = data;

	if (on)
		block->executed[slot]++;
}

static void mark(unsigned int cpu, void *data)
{
	switch ((uintptr_t)data) {
	case MARK_BEGIN:
		on = true;
		break;
	case MARK_END:
		on = false;
		break;
	case MARK_NEXT:
		slot = (slot + 1) % SLOTS;
		break;
	}
}

/* The number of a mark, or 0. */
static uintptr_t mark_of(const struct qemu_plugin_insn *insn)
{
	static const uint8_t opcode[] = MARK_OPCODE;
	uint8_t bytes[sizeof(opcode) + 4];
	uint32_t number;

	if (qemu_plugin_insn_data(insn, bytes, sizeof(bytes)) != sizeof(bytes) || memcmp(bytes, opcode, sizeof(opcode)))
		return 0;
	memcpy(&number, bytes + sizeof(opcode), sizeof(number));
	return number >= MARK_BEGIN && number <= MARK_NEXT ? number : 0;
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *of)
{
	size_t count = qemu_plugin_tb_n_insns(of);
	struct block *block;

	/* Programs make no marks. */
	if (!(qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(of, 0)) >> 63))
		return;
	block = calloc(1, sizeof(*block) + count * sizeof(*block->address));
	if (!block)
		abort();
	block->count = count;
	block->next = blocks;
	blocks = block;
	for (size_t at = 0; at < count; at++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(of, at);
		uintptr_t number = mark_of(insn);

		block->address[at] = qemu_plugin_insn_vaddr(insn);
		if (number)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, mark, CALLBACK_NO_REGISTERS, (void *)number);
	}
	qemu_plugin_register_vcpu_tb_exec_cb(of, execute, CALLBACK_NO_REGISTERS, block);
}

static void finish(qemu_plugin_id_t id, void *data)
{
	FILE *file = fopen(path, "w");

	if (!file)
		abort();
	for (const struct block *block = blocks; block; block = block->next)
		for (unsigned int in = 0; in < SLOTS; in++) {
			if (!block->executed[in])
				continue;
			fprintf(file, "%u %" PRIu64, in, block->executed[in]);
			for (size_t at = 0; at < block->count; at++)
				fprintf(file, " %" PRIx64, block->address[at]);
			fputc('\n', file);
		}
	fclose(file);
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv)
{
	if (argc != 1 || strncmp(argv[0], "out=", 4))
		return -1;
	path = argv[0] + 4;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	qemu_plugin_register_atexit_cb(id, finish, NULL);
	return 0;
}
