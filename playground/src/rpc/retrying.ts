import { type Problem, problemOf } from "./problem";

/** Tries of one question. */
const ATTEMPTS = 5;

/** Reasons that pass with the server's own work, and the time that it may take. */
const PATIENT: readonly string[] = ["VOCABULARY_NOT_READY", "MODEL_NOT_READY"];
const READY_TIMEOUT_MS = 15 * 60_000;

/** A delay before the next try. */
export interface Wait {
  problem: Problem;
  /** The time of the next try, in milliseconds since the epoch. */
  until: number;
  attempt: number;
}

/**
 * Makes a call again after the server's delay, for as long as it names one. Only a longer deadline helps against
 * DEADLINE_UNREACHABLE, so that one ends the tries.
 */
export async function retrying<T>(
  call: () => Promise<T>,
  signal: AbortSignal,
  onWait: (wait: Wait) => void,
): Promise<T> {
  const began = Date.now();
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      const problem = problemOf(error);
      if (signal.aborted || !worthARetry(problem, attempt, Date.now() - began)) throw error;
      const until = Date.now() + (problem.retryAfterMs ?? 0);
      onWait({ problem, until, attempt });
      await sleep(until - Date.now(), signal);
    }
  }
}

function worthARetry(problem: Problem, attempt: number, elapsed: number): boolean {
  if (problem.retryAfterMs === null || problem.reason === "DEADLINE_UNREACHABLE") return false;
  return PATIENT.includes(problem.reason) ? elapsed < READY_TIMEOUT_MS : attempt < ATTEMPTS;
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
