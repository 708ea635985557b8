// The session: all that computes, away from the page so that it stays alive.

import init, { Client } from "./pq_web.js";

let settings = null;
let client = null;
// One thing at a time: a session is one conversation.
let turn = Promise.resolve();

async function connect() {
  client = await Client.connect(settings.address, settings.token, settings.model);
}

// A module that has trapped cannot be used again, and one that has lost its session can.
function lose(error) {
  const fatal = error instanceof WebAssembly.RuntimeError;
  if (!fatal) client?.free();
  client = null;
  return fatal;
}

function refuse(error) {
  const fatal = lose(error);
  postMessage({ kind: "error", why: error?.message ?? String(error), fatal });
}

async function infer(pixels) {
  if (!client) await connect();
  return JSON.parse(await client.infer(pixels));
}

const tasks = {
  async start(message) {
    settings = message;
    await init();
    await connect();
    postMessage({ kind: "network", network: JSON.parse(client.network()) });
  },
  async infer({ pixels }) {
    const idle = client !== null;
    let found;
    try {
      found = await infer(pixels);
    } catch (error) {
      // A session may have ended while nobody asked: it is made anew, once.
      if (!idle || lose(error)) throw error;
      found = await infer(pixels);
    }
    postMessage({ kind: "answer", found });
  },
};

// What needs no digit is done while there is none.
async function prepare() {
  try {
    await client?.prepare();
  } catch (error) {
    lose(error);
  }
}

addEventListener("message", ({ data }) => {
  turn = turn.then(() => tasks[data.kind](data)).catch(refuse).then(prepare);
});
