// Attribution: tells how far a picture is that was sent, and goes to its answer.
const at = (id) => document.getElementById(id);
const events = new EventSource(at("attribution").dataset.events);
const number = (value) => value.toLocaleString("en").replaceAll(",", "\u202f");

function say(sentence) {
  if (at("said").textContent !== sentence) at("said").textContent = sentence; // which a screen reader then reads
}

events.addEventListener("change", ({ data }) => {
  const told = JSON.parse(data);
  say(told.said);
  if (told.of) {
    at("bar").max = told.of;
    at("bar").value = told.done;
  } else {
    at("bar").removeAttribute("value");
  }
  at("count").textContent = told.of ? `${number(told.done)} of ${number(told.of)}` : "";
  if (told.state !== "done" && told.state !== "failed") return;
  events.close();
  at("bar").hidden = true;
  at("then").textContent = "";
  if (!told.answer_page) return;
  const link = document.createElement("a");
  link.href = told.answer_page;
  link.textContent = "The answer";
  at("then").append(link);
  location.replace(told.answer_page);
});

// what the index estimates may come a little after the page
async function lookForEstimate(times) {
  if (times === 0 || at("estimate")) return;
  const found = await fetch(at("attribution").dataset.state).then((answer) => answer.json(), () => ({}));
  if (found.provisional && !found.answer_page) return location.reload();
  setTimeout(lookForEstimate, 1500, times - 1);
}
setTimeout(lookForEstimate, 1500, 8);

events.addEventListener("error", () => {
  if (events.readyState === EventSource.CLOSED) say("The connection was lost; reload this page.");
});
