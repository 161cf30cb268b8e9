// Moves the controls of the comparison page and notes what happens; see test_report_page.py.
const seen = { errors: [], blocked: [] };
addEventListener("error", (e) => seen.errors.push(String(e.message)));
addEventListener("unhandledrejection", (e) => seen.errors.push(String(e.reason)));
document.addEventListener("securitypolicyviolation", (e) => seen.blocked.push(e.blockedURI));
const by = (id) => document.getElementById(id);
const press = (part, label) => [...by(part).querySelectorAll("button")].find((b) => b.textContent === label).click();
const slide = (id, value) => { by(id).value = value; by(id).dispatchEvent(new Event("input", { bubbles: true })); };
const key = (k) => by("stage").dispatchEvent(new KeyboardEvent("keydown", { key: k, bubbles: true, cancelable: true }));
const tile = (n) => by("stage").querySelectorAll("canvas")[n];
const pixels = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
const mean = (canvas, x0 = 0, x1 = 1) => {
  const p = pixels(canvas); let sum = 0, n = 0;
  for (let y = 0; y < p.height; y++) for (let x = Math.floor(p.width * x0); x < p.width * x1; x++) { sum += p.data[4 * (y * p.width + x)]; n++; }
  return sum / n;
};
const same = (a, b) => a.data.length === b.data.length && a.data.every((v, n) => v === b.data[n]);
const point = (canvas, kind, fx, fy) => {
  const box = canvas.getBoundingClientRect();
  canvas.dispatchEvent(new PointerEvent(kind, { clientX: box.left + fx * box.width, clientY: box.top + fy * box.height, bubbles: true, pointerId: 1 }));
};
addEventListener("ctrestore-ready", () => {
  try {
    const { viewer, profile } = window.ctrestore, data = viewer.data;
    seen.tiles = document.querySelectorAll("#stage canvas").length;
    seen.values = [[0, 0, 0], [3, 40, 50], [7, 100, 90]].map(([a, b, c]) => data.slice(0, "axial", a)[b * data.shape[2] + c]);
    seen.planes_agree = data.slice(0, "axial", 3)[40 * data.shape[2] + 50] === data.slice(0, "coronal", 40)[3 * data.shape[2] + 50]
      && data.slice(0, "coronal", 40)[3 * data.shape[2] + 50] === data.slice(0, "sagittal", 50)[3 * data.shape[1] + 40];
    seen.world = data.world([0, 0, 0]);
    slide("slice", 1); seen.slice_told = by("slice-now").textContent; seen.at = viewer.at[0];
    const before = pixels(tile(0)); slide("slice", 6); seen.slice_changes_picture = !same(before, pixels(tile(0)));
    tile(0).dispatchEvent(new WheelEvent("wheel", { deltaY: -100, bubbles: true, cancelable: true })); seen.wheel = viewer.at[0];
    key("ArrowDown"); seen.arrow = viewer.at[0];
    const soft = mean(tile(0)); press("presets", "Bone"); seen.preset_changes_picture = Math.abs(mean(tile(0)) - soft) > 1;
    slide("level", 3000); seen.dark_above = mean(tile(0)) < 40; press("presets", "Soft tissue");
    press("planes", "Coronal"); seen.letters = [...tile(0).parentElement.querySelectorAll(".side")].map((s) => s.textContent).join("");
    const t = viewer.tiles[0];
    seen.pixel_ratio = t.step[0] / t.step[1];
    press("planes", "Axial"); press("modes", "Wipe"); seen.wipe_tiles = document.querySelectorAll("#stage canvas").length;
    slide("wipe", 0); const onlyB = pixels(tile(0)); slide("wipe", 100); const onlyA = pixels(tile(0));
    seen.wipe_differs = !same(onlyA, onlyB);
    press("modes", "Blink"); const blinkA = pixels(tile(0)); key("ArrowRight"); seen.blink_differs = !same(blinkA, pixels(tile(0)));
    press("modes", "Difference"); seen.diff_tiles = document.querySelectorAll("#stage canvas").length;
    seen.diff_mean = mean(tile(2), 0.4, 0.6); slide("diff-width", by("diff-width").min);
    press("modes", "3 planes"); seen.plane_tiles = [...document.querySelectorAll("#stage .names span:first-child")].map((s) => s.textContent);
    press("modes", "All"); press("tools", "Profile");
    point(tile(0), "pointerdown", 0.2, 0.5); point(tile(0), "pointermove", 0.8, 0.5); point(tile(0), "pointerup", 0.8, 0.5);
    const found = profile.curves(); seen.profile = { curves: found.values.length, length: found.length, told: by("plot-now").textContent,
      span: Math.max(...found.values[0]) - Math.min(...found.values[0]) };
    by("zoom-in").click(); seen.zoom = by("zoom-now").textContent;
    press("tools", "Cross"); point(tile(0), "pointerdown", 0.5, 0.5); point(tile(0), "pointerup", 0.5, 0.5);
    seen.cursor = by("cursor").textContent;
    seen.unnamed = [...document.querySelectorAll("button, select, input")].filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map((e) => e.id);
    seen.unlabelled = [...document.querySelectorAll("img:not([alt]), canvas:not([aria-label]), svg:not([aria-label]):not([aria-hidden])")].length;
    seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    seen.requests = performance.getEntriesByType("resource").map((r) => r.name).filter((n) => !n.startsWith("data:"));
  } catch (error) { seen.errors.push(`${error.message} ${error.stack}`); }
  const out = document.createElement("pre"); out.id = "seen"; out.textContent = JSON.stringify(seen); document.body.append(out);
});
