// The admin API, and the token: in this tab's session storage, in no address and no cookie.

const KEY = "guard-admin-token";

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  clear: () => sessionStorage.removeItem(KEY),
};

/** What the API said was wrong. */
export class Failed extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Sends a request; `path` is relative to this page. */
export async function api(path, { method = "GET", body, version } = {}) {
  const headers = { Authorization: `Bearer ${token.get()}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (version) headers["If-Match"] = `"${version}"`;
  let reply;
  try {
    reply = await fetch(path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "omit", redirect: "error",
    });
  } catch {
    throw new Failed(0, "The admin server cannot be reached.");
  }
  const value = await reply.json().catch(() => null);
  if (!reply.ok) throw new Failed(reply.status, value?.error?.message ?? `It answered ${reply.status}.`);
  return value;
}
