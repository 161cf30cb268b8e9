// Connects the controls of the page with the viewer.
const get = (id) => document.getElementById(id);

function segments(parent, choices, chosen, act) {
  const buttons = choices.map(([value, label]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.dataset.value = value;
    button.addEventListener("click", () => act(value));
    parent.append(button);
    return button;
  });
  return () => buttons.forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.value === String(chosen()))));
}

function presets(data) {
  if (data.unit === "HU") return [["Soft tissue", 40, 400], ["Bone", 500, 1800], ["Lung", -600, 1500], ["Everything", 200, 2600]];
  const [low, high] = data.range, middle = (low + high) / 2, width = high - low;
  return [["Everything", middle, width], ["Dark half", low + width / 4, width / 2], ["Bright half", high - width / 4, width / 2]];
}

function connect(data) {
  const viewer = new Viewer(data, get("stage")), state = viewer.state;
  const profile = new Profile(viewer, get("plot"), get("plot-now"));
  const several = data.volumes.length > 1, choices = presets(data);
  const modes = several ? [["grid", "All"], ["wipe", "Wipe"], ["blink", "Blink"], ["diff", "Difference"], ["planes", "3 planes"]] : [["planes", "3 planes"], ["grid", "1 plane"]];
  const updates = [
    segments(get("modes"), modes, () => state.mode, (mode) => viewer.set({ mode, blink: false })),
    segments(get("planes"), PLANES.map((p) => [p, p[0].toUpperCase() + p.slice(1)]), () => state.plane, (plane) => viewer.set({ plane })),
    segments(get("tools"), [["cursor", "Cross"], ["profile", "Profile"]], () => state.tool, (tool) => viewer.set({ tool })),
    segments(get("presets"), choices.map(([name], n) => [n, name]), () => choices.findIndex(([, l, w]) => l === state.level && w === state.width),
      (n) => viewer.set({ level: choices[n][1], width: choices[n][2] })),
  ];
  [state.level, state.width] = [choices[0][1], choices[0][2]];
  const span = data.hu ? [-1000, 2000, 20, 4000, 10] : [data.range[0], data.range[1], (data.range[1] - data.range[0]) / 50, 2 * (data.range[1] - data.range[0]), (data.range[1] - data.range[0]) / 200];
  Object.assign(get("level"), { min: span[0], max: span[1], step: span[4] });
  Object.assign(get("width"), { min: span[2], max: span[3], step: span[4] });
  const most = data.hu ? 400 : data.range[1] - data.range[0];
  state.diff = Math.max(most / 100, Math.min(most, 3 * data.noise || most / 4));
  Object.assign(get("diff-width"), { min: most / 100, max: most, step: most / 200 });
  for (const id of ["pick-a", "pick-b"]) data.volumes.forEach((v, n) => get(id).append(new Option(v.label, n)));

  const on = (id, event, change) => get(id).addEventListener(event, (e) => viewer.set(change(e.target)));
  on("pick-a", "change", (t) => ({ a: +t.value }));
  on("pick-b", "change", (t) => ({ b: +t.value }));
  on("swap", "click", () => ({ a: state.b, b: state.a }));
  on("wipe", "input", (t) => ({ wipe: t.value / 100 }));
  on("level", "input", (t) => ({ level: +t.value }));
  on("width", "input", (t) => ({ width: +t.value }));
  on("diff-width", "input", (t) => ({ diff: +t.value }));
  for (const [id, name] of [["diff-colour", "colour"], ["boxes", "boxes"], ["smooth", "smooth"]]) on(id, "change", (t) => ({ [name]: t.checked }));
  const zoom = (factor) => viewer.set({ zoom: Math.min(12, Math.max(1, state.zoom * factor)) });
  get("zoom-in").addEventListener("click", () => zoom(1.5));
  get("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
  get("slice").addEventListener("input", (e) => viewer.move(PLANES.indexOf(state.plane), data.slices[state.plane][+e.target.value]));
  const middleLine = (across) => () => {
    const [rows, columns] = data.size(state.plane), axes = data.axes(state.plane), [r, c] = [viewer.at[axes[0]], viewer.at[axes[1]]];
    viewer.set({ line: across ? { plane: state.plane, from: [r, 0], to: [r, columns - 1] } : { plane: state.plane, from: [0, c], to: [rows - 1, c] } });
  };
  get("line-h").addEventListener("click", middleLine(true));
  get("line-v").addEventListener("click", middleLine(false));

  let timer = null;
  const blink = (go) => {
    clearInterval(timer);
    timer = go ? setInterval(() => viewer.set({ blink: !state.blink }), +get("blink-rate").value) : null;
    get("blink-go").setAttribute("aria-pressed", String(go));
    get("blink-go").textContent = go ? "Stop" : "Blink";
  };
  get("blink-go").addEventListener("click", () => blink(timer === null));
  get("blink-rate").addEventListener("input", () => { get("blink-now").textContent = `${get("blink-rate").value / 1000} s`; if (timer) blink(true); });

  viewer.hover = (spot, shown) => {
    const axes = data.axes(shown.plane), [rows, columns] = data.size(shown.plane);
    if (spot[0] < -0.5 || spot[1] < -0.5 || spot[0] > rows - 0.5 || spot[1] > columns - 0.5) return;
    const position = viewer.at.slice();
    axes.forEach((axis, n) => { position[axis] = Math.round(spot[n]); });
    const values = data.volumes.map((v, n) => {
      const value = data.slice(n, shown.plane, viewer.at[PLANES.indexOf(shown.plane)])[Math.round(spot[0]) * columns + Math.round(spot[1])];
      return `${v.label} ${tidy(value, 4)}`;
    });
    const place = data.world(position).map((v) => v.toFixed(1)).join(", ");
    get("cursor").textContent = `${values.join(" · ")} ${data.unit}   (L, P, S = ${place} mm)`;
  };

  viewer.listeners.push(() => {
    updates.forEach((f) => f());
    const { mode, plane } = state, axis = PLANES.indexOf(plane), held = data.slices[plane];
    if (mode !== "blink" && timer) blink(false);
    Object.assign(get("slice"), { max: held.length - 1, value: held.indexOf(data.nearest(plane, viewer.at[axis])) });
    const height = data.letters ? `, ${["S", "P", "L"][axis]} ${data.world(viewer.at)[2 - axis].toFixed(1)} mm` : "";
    get("slice-now").textContent = `${plane[0].toUpperCase()}${plane.slice(1)} ${viewer.at[axis] + 1} of ${data.shape[axis]}${height}`;
    get("pick-a").value = state.a;
    get("pick-b").value = state.b;
    get("wipe").value = state.wipe * 100;
    for (const name of ["level", "width"]) { get(name).value = state[name]; get(`${name}-now`).textContent = tidy(state[name], 4); }
    get("diff-width").value = state.diff;
    for (const [id, name] of [["diff-colour", "colour"], ["boxes", "boxes"], ["smooth", "smooth"]]) get(id).checked = state[name];
    get("diff-now").textContent = `${tidy(state.diff, 3)} ${data.unit}`;
    get("zoom-now").textContent = `${Math.round(state.zoom * 100)} %`;
    get("pair").hidden = !several && mode === "grid";
    get("pick-b").parentElement.hidden = get("swap").hidden = !["wipe", "blink", "diff"].includes(mode);
    get("pick-a").parentElement.hidden = mode === "grid";
    get("wipe-box").hidden = mode !== "wipe";
    get("blink-box").hidden = mode !== "blink";
    get("diff-box").hidden = get("colour-box").hidden = mode !== "diff";
    get("planes").hidden = false;
    get("boxes-box").hidden = !data.volumes.some((v) => v.boxes.length);
    profile.draw();
  });
  keyboard(viewer, zoom, choices, () => get("blink-go").click());
  data.volumes.forEach((v, n) => {
    const item = document.createElement("li");
    item.innerHTML = `<svg viewBox="0 0 34 8" aria-hidden="true"><line class="line c${n % 8}" x1="0" x2="34" y1="4" y2="4" stroke-dasharray="${Profile.DASHES[n % 8].join(" ")}"/></svg>`;
    item.append(v.label);
    get("plot-legend").append(item);
  });
  return { viewer, profile };
}

function keyboard(viewer, zoom, choices, blink) {
  const { state } = viewer, letters = { g: "grid", w: "wipe", b: "blink", d: "diff", t: "planes" };
  get("stage").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const steps = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10 };
    const planes = { a: "axial", c: "coronal", s: "sagittal" };
    if (key in steps) viewer.step(state.plane, steps[key]);
    else if (key in planes) viewer.set({ plane: planes[key] });
    else if (key in letters) viewer.set({ mode: letters[key], blink: false });
    else if (key === "ArrowLeft" || key === "ArrowRight") {
      const way = key === "ArrowRight" ? 1 : -1;
      viewer.set(state.mode === "blink" ? { blink: !state.blink } : { wipe: Math.min(1, Math.max(0, state.wipe + 0.02 * way)) });
    } else if ("1234".includes(key) && choices[key - 1]) viewer.set({ level: choices[key - 1][1], width: choices[key - 1][2] });
    else if (key === "+" || key === "=") zoom(1.5);
    else if (key === "-") zoom(1 / 1.5);
    else if (key === "x") viewer.set({ a: state.b, b: state.a });
    else if (key === " " && state.mode === "blink") blink();
    else return;
    event.preventDefault();
  });
}

async function start() {
  if (typeof DecompressionStream === "undefined") throw new Error("this browser is older than 2023");
  const data = new Data(JSON.parse(get("manifest").textContent));
  await data.load();
  get("viewer").hidden = false;
  get("loading").hidden = true;
  const page = connect(data);
  get("line-h").click();
  window.ctrestore = page;
  window.dispatchEvent(new Event("ctrestore-ready"));
}

start().catch((error) => {
  get("loading").textContent = `The viewer could not start: ${error.message}. Plain pictures are further down.`;
  throw error;
});
