// A task's output as it is written. At most so much of it is kept here; all of it is behind the download.
const view = document.getElementById("log");
const connection = document.getElementById("connection");
const end = document.getElementById("log-end");
const tail = document.getElementById("log-tail");
const search = document.getElementById("log-search");
const found = document.getElementById("log-found");
const MOST_CHARS = 2_000_000;
const decoder = new TextDecoder();
const text = view.appendChild(document.createTextNode(""));

function say(state) {
  connection.dataset.state = state;
  connection.textContent = connection.dataset[state];
}

const source = new EventSource(view.dataset.follow);
source.addEventListener("open", () => say("live"));
source.addEventListener("error", (event) => {
  if (event.data) end.textContent = JSON.parse(event.data).error.message;
  else say("lost");
});
source.addEventListener("log", (event) => {
  const piece = JSON.parse(event.data);
  const bytes = Uint8Array.from(atob(piece.data), (char) => char.charCodeAt(0));
  text.appendData(decoder.decode(bytes, { stream: true }));
  if (text.length > MOST_CHARS) {
    text.deleteData(0, text.length - MOST_CHARS);
    end.textContent = end.dataset.cut;
  }
  if (tail.checked) view.scrollTop = view.scrollHeight;
});
source.addEventListener("end", () => {
  source.close();
  say("live");
  end.textContent = end.dataset.ended;
});

// Searching marks one place after the other, and brings it into view.
let from = 0;
function findNext() {
  const wanted = search.value.toLowerCase();
  const all = text.data.toLowerCase();
  if (!wanted) return void (found.textContent = "");
  let at = all.indexOf(wanted, from);
  if (at < 0) at = all.indexOf(wanted);
  found.textContent = String(all.split(wanted).length - 1);
  if (at < 0) return;
  from = at + wanted.length;
  const range = document.createRange();
  range.setStart(text, at);
  range.setEnd(text, from);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  tail.checked = false;
  const box = range.getBoundingClientRect();
  view.scrollTop += box.top - view.getBoundingClientRect().top - view.clientHeight / 3;
}
search.addEventListener("input", () => { from = 0; findNext(); });
search.addEventListener("keydown", (event) => { if (event.key === "Enter") findNext(); });
document.getElementById("log-next").addEventListener("click", findNext);
