// Keeps the page up to date: the server sends the main part anew where something in it changed, and what differs is
// put in place of what stood there, so that focus, scrolling, open details and what is being typed stay.

const main = document.querySelector("main[data-live]");
const status = document.getElementById("connection");
const RETRY_MS = 2000;

function sameThing(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") || node.id : "";
}

function morphChildren(old, fresh) {
  const keyed = new Map();
  for (const child of old.children) if (keyOf(child)) keyed.set(keyOf(child), child);
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = keyOf(wanted);
    let match = key ? keyed.get(key) : at;
    if (match && sameThing(match, wanted)) {
      if (match !== at) old.insertBefore(match, at);
      else at = at.nextSibling;
      morph(match, wanted);
    } else {
      old.insertBefore(wanted, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function morph(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.hasAttribute("data-keep") || old.contains(document.activeElement) && old.matches("form")) return;
  for (const { name } of [...old.attributes])
    if (!fresh.hasAttribute(name) && !(old.nodeName === "DETAILS" && name === "open")) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  morphChildren(old, fresh);
}

function say(state) {
  if (!status) return;
  status.dataset.state = state;
  const words = status.dataset[state];
  if (status.textContent !== words) status.textContent = words;
}

function follow() {
  const url = "/ui/live?url=" + encodeURIComponent(location.pathname + location.search);
  const source = new EventSource(url);
  source.addEventListener("open", () => say("live"));
  source.addEventListener("main", (event) => {
    const fresh = main.cloneNode(false);
    fresh.innerHTML = JSON.parse(event.data).html;
    morphChildren(main, fresh);
    document.dispatchEvent(new Event("hrm:fresh"));
  });
  source.addEventListener("error", () => {
    say("lost");
    // The browser tries again by itself, but for an answer that is no stream: then the page itself says why.
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(async () => {
        const answer = await fetch(location.href, { redirect: "manual" }).catch(() => null);
        if (answer && (answer.type === "opaqueredirect" || !answer.ok)) location.reload();
        else follow();
      }, RETRY_MS);
    }
  });
  addEventListener("pagehide", () => source.close());
}

if (main) follow();
