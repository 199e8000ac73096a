const KEY = "sed-serve-token";

/** Returns the bearer token, empty if there is none. It lives as long as the tab. */
export function token(): string {
  return sessionStorage.getItem(KEY) ?? "";
}

/** Stores the bearer token for this tab; an empty one is forgotten. */
export function setToken(secret: string): void {
  if (secret) sessionStorage.setItem(KEY, secret);
  else sessionStorage.removeItem(KEY);
}
