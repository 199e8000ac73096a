import { contrastOf } from "../rpc/request";
import type { Question } from "../state";

/** A request in the terms of the code that is written for it. */
export interface Call {
  /** The file's name. */
  file: string;
  /** HOST:PORT of the server. */
  host: string;
  secure: boolean;
  /** The server asks for a token, which the code reads from `SED_TOKEN`. */
  token: boolean;
  question: Question;
  contrast: ReturnType<typeof contrastOf>;
}

/** Collects what code needs to know of a question. */
export function callOf(question: Question, file: string, token: boolean): Call {
  const { host, protocol, port } = window.location;
  const secure = protocol === "https:";
  const withPort = port ? host : `${host}:${secure ? 443 : 80}`;
  return { file: file || "picture.jpg", host: withPort, secure, token, question, contrast: contrastOf(question) };
}

/** Quotes a text for a POSIX shell. */
export function quoted(text: string): string {
  return /^[\w./:-]+$/.test(text) && !text.startsWith("-") ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The path of a file in the current folder, which no program takes for a flag. */
export function path(file: string): string {
  return file.startsWith("-") ? `./${file}` : file;
}
