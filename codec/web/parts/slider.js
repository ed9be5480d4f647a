// Two pictures in one place, and a border between them that is dragged or moved by keys.

/**
 * @param {HTMLElement} stage gets the border's place as the CSS variable `--at`
 * @param {HTMLInputElement} range 0..100
 * @returns {(percent: number) => void} moves the border
 */
export function slider(stage, range) {
  const move = (percent) => {
    range.value = String(Math.min(100, Math.max(0, percent)));
    stage.style.setProperty("--at", `${range.value}%`);
  };
  const drag = (event) => {
    const box = stage.getBoundingClientRect();
    move((100 * (event.clientX - box.left)) / box.width);
  };
  range.addEventListener("input", () => move(Number(range.value)));
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    drag(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (event.buttons) drag(event);
  });
  move(50);
  return move;
}
