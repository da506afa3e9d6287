"use strict";
const players = [...document.querySelectorAll("video")];

for (const player of players) {
  const timelines = [...player.parentElement.querySelectorAll(".timeline")];
  const show = () => {
    const x = (1000 * player.currentTime) / player.duration || 0;
    for (const line of player.parentElement.querySelectorAll(".head")) {
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
    if (!player.paused) requestAnimationFrame(show);
  };
  player.addEventListener("play", show);
  player.addEventListener("seeked", show);
  player.addEventListener("loadedmetadata", () => (player.dataset.seconds = player.duration.toFixed(3)));
  for (const timeline of timelines) {
    timeline.addEventListener("click", (event) => {
      player.currentTime = (player.duration * event.offsetX) / timeline.clientWidth;
      player.play();
    });
  }
}

for (const button of document.querySelectorAll(".play-all")) {
  button.addEventListener("click", async () => {
    for (const player of button.parentElement.querySelectorAll("video")) {
      player.loop = false;
      player.currentTime = 0;
      player.scrollIntoView({ block: "nearest", behavior: "smooth" });
      await player.play();
      await new Promise((resolve) => player.addEventListener("ended", resolve, { once: true }));
      player.loop = true;
    }
  });
}
