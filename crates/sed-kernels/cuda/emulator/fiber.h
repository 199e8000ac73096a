// Fibers: functions that pause and go on, each on a stack of its own.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace sed_emulator {

// Memory for one fiber; pages that are not touched cost nothing.
class Stack {
 public:
  static constexpr size_t BYTES = 64 * 1024;
  Stack() : memory_(mmap(nullptr, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    static thread_local unsigned made;
    shift_ = made++ % 64 * 192;
  }
  Stack(Stack&& other) noexcept : memory_(other.memory_), shift_(other.shift_) { other.memory_ = MAP_FAILED; }
  Stack(const Stack&) = delete;
  ~Stack() {
    if (memory_ != MAP_FAILED) munmap(memory_, BYTES);
  }
  char* memory() const { return static_cast<char*>(memory_); }
  // Stacks begin at different places of their pages: at the same one, all would share a few lines of the cache.
  char* top() const { return memory() + BYTES - shift_; }

 private:
  void* memory_;
  size_t shift_;
};

#if defined(__x86_64__)

// Saves the registers that a call keeps on the old stack, goes over to the new one and takes them from there. It goes on
// by a jump: the processor predicts where a `ret` leads from the calls that it saw, and they were on another stack.
extern "C" void sed_emulator_switch(void** from, void* to);
asm(R"(
.text
.globl sed_emulator_switch
.type sed_emulator_switch, @function
sed_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmpq *%rcx
)");

class Fiber {
 public:
  // `body` starts with the first `resume`.
  void start(const Stack& stack, void (*body)()) {
    body_ = body;
    // What `sed_emulator_switch` takes from the stack: six registers and where to go on. The stack is aligned
    // as the ABI wants it at the start of a function.
    void** top = reinterpret_cast<void**>(stack.top()) - 2;
    top[0] = reinterpret_cast<void*>(&Fiber::entry);
    for (int i = 1; i <= 6; i++) top[-i] = nullptr;
    inside_ = top - 6;
  }
  void resume() {
    running() = this;
    sed_emulator_switch(&outside_, inside_);
  }
  void pause() { sed_emulator_switch(&inside_, outside_); }

 private:
  static Fiber*& running() {
    static thread_local Fiber* fiber;
    return fiber;
  }
  static void entry() {
    Fiber* self = running();
    self->body_();
    self->pause(); // for good
  }
  void (*body_)() = nullptr;
  void* inside_ = nullptr;
  void* outside_ = nullptr;
};

#else

class Fiber {
 public:
  void start(const Stack& stack, void (*body)()) {
    getcontext(&inside_);
    inside_.uc_stack.ss_sp = stack.memory();
    inside_.uc_stack.ss_size = static_cast<size_t>(stack.top() - stack.memory());
    inside_.uc_link = &outside_;
    makecontext(&inside_, body, 0);
  }
  void resume() { swapcontext(&outside_, &inside_); }
  void pause() { swapcontext(&inside_, &outside_); }

 private:
  ucontext_t inside_, outside_;
};

#endif

} // namespace sed_emulator
