// Beside the words that there is no answer just now: asks again, and shows the answer once there is one.
setInterval(async () => {
  const answer = await fetch(location.href, { method: "HEAD" }).catch(() => null);
  if (answer && answer.status !== 503) location.reload();
}, 2000);
