/* Runs the ceremony of a form that has one, and posts what came of it. Without script, or without passkeys, such a form stays hidden. */
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const descriptors = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

async function create(options) {
  const made = await navigator.credentials.create({
    publicKey: {
      ...options,
      challenge: bytes(options.challenge),
      user: { ...options.user, id: bytes(options.user.id) },
      excludeCredentials: descriptors(options.excludeCredentials),
    },
  });
  return {
    made,
    response: {
      attestationObject: text(made.response.attestationObject),
      transports: made.response.getTransports ? made.response.getTransports() : [],
    },
  };
}

async function get(options, how) {
  const made = await navigator.credentials.get({
    ...how,
    publicKey: { ...options, challenge: bytes(options.challenge), allowCredentials: descriptors(options.allowCredentials) },
  });
  return {
    made,
    response: {
      authenticatorData: text(made.response.authenticatorData),
      signature: text(made.response.signature),
      userHandle: made.response.userHandle ? text(made.response.userHandle) : undefined,
    },
  };
}

async function run(form, how) {
  const ceremony = form.dataset.ceremony === "create" ? create : get;
  const { made, response } = await ceremony(JSON.parse(form.dataset.options), how);
  response.clientDataJSON = text(made.response.clientDataJSON);
  form.elements.response.value = JSON.stringify({
    id: made.id,
    rawId: text(made.rawId),
    type: made.type,
    authenticatorAttachment: made.authenticatorAttachment || undefined,
    clientExtensionResults: {},
    response,
  });
  form.elements.remember.value = document.querySelector("input[type=checkbox][name=remember]:checked") ? "1" : "";
  form.submit();
}

/* Has the browser offer passkeys where it fills in names, if it can. Returns what ends that: only one request may be under way. */
function offer(form) {
  const over = new AbortController();
  const offered = (async () => {
    if (await PublicKeyCredential.isConditionalMediationAvailable?.()) {
      await run(form, { mediation: "conditional", signal: over.signal });
    }
  })().catch(() => {}); /* nobody asked for it: the button and the fields are there as before */
  return () => {
    over.abort();
    return offered;
  };
}

for (const form of document.querySelectorAll("form[data-options]")) {
  if (!window.PublicKeyCredential) continue;
  form.hidden = false;
  const button = form.querySelector("button");
  const failed = form.querySelector("[role=alert]");
  const begin = () => ("autofill" in form.dataset ? offer(form) : () => {});
  let end = begin();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    failed.textContent = "";
    try {
      await end();
      await run(form);
    } catch {
      /* Mostly the person has cancelled. Browsers do not tell, so that no page learns which passkeys there are. */
      failed.textContent = form.dataset.failed;
      button.disabled = false;
      end = begin();
    }
  });
}
