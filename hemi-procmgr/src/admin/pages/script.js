// Shows new figures as they come. Without it the page is loaded again every ten seconds.
const live = document.getElementById("live");
const state = document.getElementById("state");
const source = new EventSource("/live");

source.addEventListener("message", (event) => {
  state.textContent = "live";
  const selected = getSelection();
  const reading = selected && !selected.isCollapsed && live.contains(selected.anchorNode);
  if (!document.hidden && !reading) live.innerHTML = event.data;
});

source.addEventListener("error", () => {
  state.textContent = "not connected";
  // The session is over, or the answer was none: a browser does not try again then.
  if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 2000);
});
