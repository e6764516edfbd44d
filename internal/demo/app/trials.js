import { element } from "./element.js";

const $ = (id) => document.getElementById(id);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** The attempts to break it. */
export function startTrials(client, { api, countdown, journal }) {
  trial("storm", async (tell) => {
    api.pause(true); // a quiet page, or its own calls renew the token too early
    api.stop();
    try {
      while (countdown.left() > 0) {
        tell(`Armed. The token runs out in ${Math.ceil(countdown.left())} s …`);
        await pause(200);
      }
      await pause(1200); // its end is told in whole seconds
      const renewals = journal.count("gateway", "renewed");
      const calls = journal.count("provider", "tokens refreshed");
      const begun = performance.now();
      const answers = await Promise.all(Array.from({ length: 50 }, () =>
        api.post("/api/graphql", { query: "{ me { name } }" }).catch(() => ({ ok: false }))));
      const took = Math.round(performance.now() - begun);
      await pause(700); // the journal comes by another connection
      const good = answers.filter(({ ok }) => ok).length;
      const renewed = journal.count("gateway", "renewed") - renewals;
      const called = journal.count("provider", "tokens refreshed") - calls;
      tell(`${good} of 50 answered in ${took} ms · ${times(renewed, "renewal")} · ${times(called, "call")} to the provider`,
        good === 50 && renewed === 1 && called === 1);
    } finally {
      api.pause(false);
    }
  });
}

/** Runs one attempt at a time when its button is pressed. */
function trial(id, run) {
  const button = $(id);
  const out = $(`${id}-result`);
  const tell = (message, good) => {
    out.textContent = message;
    mark(out, good);
  };
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const good = await run(tell, out);
      if (good !== undefined) mark(out, good);
    } catch (error) {
      tell(`That did not work: ${error.message}`, false);
    } finally {
      button.disabled = false;
    }
  });
}

function mark(out, good) {
  out.classList.toggle("good", good === true);
  out.classList.toggle("bad", good === false);
}

const times = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
