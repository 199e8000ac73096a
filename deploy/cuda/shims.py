#!/usr/bin/env python3
"""Writes a small static library that stands in for a CUDA library when linking, and finds the real one when called.

A binary linked with the real libcuda.so does not start on a machine without a driver. Linked with these shims it
starts anywhere: the first call of a function opens the real library with dlopen, and every later call jumps straight
to the real function. Where the library or the function is missing, the call returns an error code of that library,
which the caller sees like any other.

A library is looked for in the folders that SED_CUDA_LIBRARIES names, then by the dynamic linker's own rules, then in the
usual folders of a toolkit; the program's `doctor` repeats this search (`crates/sed-kernels/src/device/libraries.rs`) and
reports the dynamic linker's reasons.

Usage: shims.py NAME SONAME[,SONAME] CODE SYMBOLS DESTINATION
  NAME         the library, as in -lNAME
  SONAME       the files to open, in this order
  CODE         the error of a missing library; it must be one that the library's bindings know
  SYMBOLS      a file with one function name a line
  DESTINATION  the folder that gets libNAME_shim.a and libNAME.so, a linker script that names it

x86-64 Linux only.
"""

import pathlib
import subprocess
import sys
import tempfile

# %rax is no argument register of a function that takes no variable arguments, so the trampoline may use it.
TRAMPOLINE = """\
.globl {symbol}
.type {symbol}, @function
.section .text.{symbol}, "ax", @progbits
{symbol}:
  mov {prefix}_table+{offset}(%rip), %rax
  test %rax, %rax
  jz 1f
  jmp *%rax
1: mov ${index}, %eax
  jmp {prefix}_slow
.size {symbol}, .-{symbol}
"""

# The first call of a function: saves every argument register, asks for the address, restores them and jumps.
SLOW_PATH = """\
.section .text.{prefix}_slow, "ax", @progbits
.type {prefix}_slow, @function
{prefix}_slow:
  push %rbp
  mov %rsp, %rbp
  push %rdi; push %rsi; push %rdx; push %rcx; push %r8; push %r9
  push %rax; push %rax
  sub $128, %rsp
{save}
  mov %eax, %edi
  call {prefix}_resolve
{restore}
  add $144, %rsp
  pop %r9; pop %r8; pop %rcx; pop %rdx; pop %rsi; pop %rdi
  pop %rbp
  test %rax, %rax
  jz 2f
  jmp *%rax
2: mov ${missing}, %eax
  ret
.size {prefix}_slow, .-{prefix}_slow
.section .bss.{prefix}_table, "aw", @nobits
.globl {prefix}_table
.hidden {prefix}_table
.balign 16
{prefix}_table: .zero {table_bytes}
.section .note.GNU-stack, "", @progbits
"""

RESOLVER = """\
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern void *{prefix}_table[] __attribute__((visibility("hidden")));
static const char *const names[] = {{ {names} }};
static const char *const files[] = {{ {files} }};
static void *library;
static pthread_once_t opened = PTHREAD_ONCE_INIT;

static void open_in(const char *folder, size_t length, const char *below, const char *file) {{
  char path[4096];
  int written = snprintf(path, sizeof path, "%.*s%s/%s", (int)length, folder, below, file);
  if (!library && length > 0 && written > 0 && (size_t)written < sizeof path)
    library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
}}

static void open_file(const char *file) {{
  const char *named = getenv("SED_CUDA_LIBRARIES"), *home = getenv("CUDA_HOME");
  while (named && *named) {{
    size_t length = strcspn(named, ":");
    open_in(named, length, "", file);
    named += length + (named[length] == ':');
  }}
  if (!library) library = dlopen(file, RTLD_NOW | RTLD_GLOBAL);
  if (home) open_in(home, strlen(home), "/lib64", file);
  open_in("/usr/local/cuda", 15, "/lib64", file);
  open_in("/usr/local/cuda", 15, "/targets/x86_64-linux/lib", file);
}}

static void open_library(void) {{
  for (size_t i = 0; i < sizeof files / sizeof *files && !library; ++i) open_file(files[i]);
}}

__attribute__((visibility("hidden"))) void *{prefix}_resolve(int index) {{
  pthread_once(&opened, open_library);
  void *found = library ? dlsym(library, names[index]) : NULL;
  __atomic_store_n(&{prefix}_table[index], found, __ATOMIC_RELEASE);
  return found;
}}
"""


def quoted(items):
    return ", ".join(f'"{item}"' for item in items)


def assembly(prefix, symbols, missing):
    registers = range(8)
    trampolines = (
        TRAMPOLINE.format(symbol=symbol, prefix=prefix, offset=8 * index, index=index)
        for index, symbol in enumerate(symbols)
    )
    slow = SLOW_PATH.format(
        prefix=prefix,
        missing=int(missing),
        save="\n".join(f"  movups %xmm{k}, {16 * k}(%rsp)" for k in registers),
        restore="\n".join(f"  movups {16 * k}(%rsp), %xmm{k}" for k in registers),
        table_bytes=8 * len(symbols),
    )
    return "".join(trampolines) + slow


def main():
    name, files, missing, symbols_file, destination = sys.argv[1:6]
    symbols = [line.strip() for line in open(symbols_file) if line.strip()]
    if not symbols:
        sys.exit(f"{symbols_file} names no function of {name}: is this the cudarc that the shims were written for?")
    prefix = f"shim_{name}"
    archive = pathlib.Path(destination).resolve() / f"lib{name}_shim.a"
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "trampolines.s").write_text(assembly(prefix, symbols, missing))
        (work / "resolver.c").write_text(
            RESOLVER.format(prefix=prefix, names=quoted(symbols), files=quoted(files.split(",")))
        )
        objects = []
        for source in ("trampolines.s", "resolver.c"):
            target = work / (source + ".o")
            subprocess.run(["gcc", "-c", "-O2", "-fPIC", work / source, "-o", target], check=True)
            objects.append(target)
        archive.unlink(missing_ok=True)
        subprocess.run(["ar", "rcs", archive, *objects], check=True)
    (archive.parent / f"lib{name}.so").write_text(f'INPUT("{archive}" -ldl)\n')


if __name__ == "__main__":
    main()
