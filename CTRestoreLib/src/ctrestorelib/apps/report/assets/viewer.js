// Draws slices: all volumes, wipe, blink, difference or three planes; linked by one position.
const LETTERS = { axial: ["A", "P", "R", "L"], coronal: ["H", "F", "R", "L"], sagittal: ["H", "F", "A", "P"] };
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colourOf = (n) => style(`--c${n % 8}`);

class Viewer {
  constructor(data, stage) {
    this.data = data;
    this.stage = stage;
    this.at = data.start.slice();
    this.state = {
      mode: data.volumes.length > 1 ? "grid" : "planes", plane: "axial", tool: "cursor", a: 0,
      b: Math.min(1, data.volumes.length - 1), wipe: 0.5, blink: false, level: 40, width: 400, zoom: 1,
      diff: 100, colour: false, boxes: false, smooth: true, line: null,
    };
    this.tiles = [];
    this.listeners = [];
    new ResizeObserver(() => this.draw()).observe(stage);
  }

  set(change) {
    Object.assign(this.state, change);
    if (!this.data.full) this.at = this.at.map((n, axis) => this.data.nearest(PLANES[axis], n));
    this.draw();
    this.listeners.forEach((f) => f(this));
  }

  move(axis, index) {
    const next = Math.min(Math.max(Math.round(index), 0), this.data.shape[axis] - 1);
    this.at[axis] = this.data.full ? next : this.data.nearest(PLANES[axis], next);
    this.set({});
  }

  // One step through the held slices of a plane.
  step(plane, count) {
    const held = this.data.slices[plane], axis = PLANES.indexOf(plane);
    const now = held.indexOf(this.data.nearest(plane, this.at[axis]));
    this.move(axis, held[Math.min(Math.max(now + count, 0), held.length - 1)]);
  }

  // What each tile shows: { kind: "one" | "wipe" | "diff", volume, plane }.
  plan() {
    const s = this.state;
    const one = (volume, plane = s.plane) => ({ kind: "one", volume, plane });
    if (s.mode === "grid") return this.data.volumes.map((_, n) => one(n));
    if (s.mode === "planes") return PLANES.map((p) => one(s.a, p));
    if (s.mode === "wipe") return [{ kind: "wipe", volume: s.a, plane: s.plane }];
    if (s.mode === "blink") return [one(s.blink ? s.b : s.a)];
    return [one(s.a), one(s.b), { kind: "diff", volume: s.a, plane: s.plane }];
  }

  draw() {
    const plan = this.plan();
    while (this.tiles.length > plan.length) this.tiles.pop().element.remove();
    while (this.tiles.length < plan.length) this.tiles.push(new Tile(this));
    const width = this.stage.clientWidth || 800;
    const most = width < 560 ? 1 : width < 900 ? 2 : plan.length > 6 ? 4 : 3;
    const columns = plan.length === 4 && most > 2 ? 2 : Math.min(plan.length, most);
    this.stage.style.setProperty("--columns", columns);
    const ratio = Math.max(...plan.map((p) => this.extent(p.plane)[0] / this.extent(p.plane)[1]));
    const height = Math.min((width / columns) * ratio, Math.max(260, window.innerHeight * (columns > 1 ? 0.62 : 0.74)));
    this.stage.style.setProperty("--tile-height", `${Math.round(Math.max(height, 140))}px`);
    this.tiles.forEach((tile, n) => tile.draw(plan[n]));
  }

  // Height and width of a plane in mm.
  extent(plane) {
    const [rows, columns] = this.data.size(plane), [dy, dx] = this.data.pixel(plane);
    return [rows * dy, columns * dx];
  }
}

class Tile {
  constructor(viewer) {
    this.viewer = viewer;
    this.element = document.createElement("div");
    this.element.className = "tile";
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    const names = document.createElement("div"), view = document.createElement("div");
    names.className = "names";
    view.className = "view";
    view.append(this.canvas);
    this.element.append(names, view);
    this.labels = Object.fromEntries(["name", "name right", "side t", "side b", "side l", "side r"].map((c) => {
      const span = document.createElement("span");
      span.className = c;
      (c.startsWith("side") ? view : names).append(span);
      return [c, span];
    }));
    viewer.stage.append(this.element);
    this.picture = document.createElement("canvas");
    this.#listen();
  }

  draw(shown) {
    this.shown = shown;
    const { data, state, at } = this.viewer;
    const index = at[PLANES.indexOf(shown.plane)];
    const density = window.devicePixelRatio || 1;
    const box = this.canvas.getBoundingClientRect();
    this.canvas.width = Math.max(1, Math.round(box.width * density));
    this.canvas.height = Math.max(1, Math.round(box.height * density));
    this.#place(shown.plane, box, density);
    const paint = this.canvas.getContext("2d");
    paint.imageSmoothingEnabled = state.smooth;
    paint.imageSmoothingQuality = "high";
    const first = data.slice(shown.volume, shown.plane, index);
    if (shown.kind === "diff") {
      this.#paint(paint, this.#difference(first, data.slice(state.b, shown.plane, index)));
    } else {
      this.#paint(paint, this.#grey(first));
    }
    if (shown.kind === "wipe") this.#wipe(paint, this.#grey(data.slice(state.b, shown.plane, index)));
    this.#marks(paint, density);
    this.#name(index);
  }

  // Where the slice lies on the canvas: pixels per mm, and the position of its corner.
  #place(plane, box, density) {
    const { data, state, at } = this.viewer;
    const [height, width] = this.viewer.extent(plane), [dy, dx] = data.pixel(plane), axes = data.axes(plane);
    this.scale = Math.min((box.width * density) / width, (box.height * density) / height) * state.zoom;
    const middle = state.zoom > 1 ? [(at[axes[0]] + 0.5) * dy, (at[axes[1]] + 0.5) * dx] : [height / 2, width / 2];
    this.corner = [this.canvas.height / 2 - middle[0] * this.scale, this.canvas.width / 2 - middle[1] * this.scale];
    this.step = [dy * this.scale, dx * this.scale];
  }

  #grey(values) {
    const { level, width } = this.viewer.state;
    const low = level - width / 2, gain = 255 / width, out = new Uint8ClampedArray(values.length * 4);
    for (let n = 0, o = 0; n < values.length; n++, o += 4) {
      out[o] = out[o + 1] = out[o + 2] = (values[n] - low) * gain;
      out[o + 3] = 255;
    }
    return out;
  }

  #difference(first, second) {
    const { diff, colour } = this.viewer.state, out = new Uint8ClampedArray(first.length * 4);
    for (let n = 0, o = 0; n < first.length; n++, o += 4) {
      const off = Math.max(-1, Math.min(1, (first[n] - second[n]) / diff));
      if (colour) {
        out[o] = off > 0 ? 245 : 245 * (1 + off) + 30 * -off;
        out[o + 1] = 245 * (1 - Math.abs(off)) + 60 * Math.abs(off);
        out[o + 2] = off < 0 ? 245 : 245 * (1 - off) + 40 * off;
      } else {
        out[o] = out[o + 1] = out[o + 2] = 127.5 + 127.5 * off;
      }
      out[o + 3] = 255;
    }
    return out;
  }

  #paint(paint, pixels) {
    const [rows, columns] = this.viewer.data.size(this.shown.plane);
    this.picture.width = columns;
    this.picture.height = rows;
    this.picture.getContext("2d").putImageData(new ImageData(pixels, columns, rows), 0, 0);
    paint.drawImage(this.picture, this.corner[1], this.corner[0], columns * this.step[1], rows * this.step[0]);
  }

  // The wipe lies within the slice, not within the tile.
  #edge() {
    const columns = this.viewer.data.size(this.shown.plane)[1];
    const left = Math.max(0, this.corner[1]), right = Math.min(this.canvas.width, this.corner[1] + columns * this.step[1]);
    return [left, right, left + (right - left) * this.viewer.state.wipe];
  }

  #wipe(paint, pixels) {
    const x = this.#edge()[2];
    paint.save();
    paint.beginPath();
    paint.rect(x, 0, this.canvas.width - x, this.canvas.height);
    paint.clip();
    this.#paint(paint, pixels);
    paint.restore();
    paint.fillStyle = "#ffd76a";
    paint.fillRect(x - 1.5, 0, 3, this.canvas.height);
    paint.beginPath();
    paint.arc(x, this.canvas.height / 2, 9 * (window.devicePixelRatio || 1), 0, 7);
    paint.fill();
  }

  #marks(paint, density) {
    const { state, at, data } = this.viewer, plane = this.shown.plane, axes = data.axes(plane);
    const spot = (row, column) => [this.corner[1] + (column + 0.5) * this.step[1], this.corner[0] + (row + 0.5) * this.step[0]];
    paint.lineWidth = density;
    if (state.mode === "planes" || state.tool === "cursor") {
      const [x, y] = spot(at[axes[0]], at[axes[1]]), reach = state.mode === "planes" ? 1e4 : 12 * density;
      paint.strokeStyle = "rgba(255, 215, 106, .75)";
      paint.beginPath();
      for (const [fx, fy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        paint.moveTo(x + 5 * density * fx, y + 5 * density * fy);
        paint.lineTo(x + reach * fx, y + reach * fy);
      }
      paint.stroke();
    }
    if (state.boxes) this.#boxes(paint, density, axes, at[PLANES.indexOf(plane)]);
    if (state.line && state.line.plane === plane) this.#line(paint, density, spot);
  }

  #boxes(paint, density, axes, index) {
    const { data, state } = this.viewer, out = PLANES.indexOf(this.shown.plane);
    const volume = this.shown.kind === "one" ? this.shown.volume : state.b;
    for (const box of data.volumes[volume].boxes) {
      if (index < box[2 * out] || index >= box[2 * out + 1]) continue;
      const [r0, r1, c0, c1] = [box[2 * axes[0]], box[2 * axes[0] + 1], box[2 * axes[1]], box[2 * axes[1] + 1]];
      paint.strokeStyle = `rgba(255, 80, 60, ${Math.min(1, 0.35 + box[6] / 30)})`;
      paint.lineWidth = 2 * density;
      paint.strokeRect(this.corner[1] + c0 * this.step[1], this.corner[0] + r0 * this.step[0],
        (c1 - c0) * this.step[1], (r1 - r0) * this.step[0]);
    }
  }

  #line(paint, density, spot) {
    const { from, to } = this.viewer.state.line, [x0, y0] = spot(...from), [x1, y1] = spot(...to);
    paint.strokeStyle = "#50d8ff";
    paint.fillStyle = "#50d8ff";
    paint.lineWidth = 1.6 * density;
    paint.beginPath();
    paint.moveTo(x0, y0);
    paint.lineTo(x1, y1);
    paint.stroke();
    paint.fillRect(x0 - 3 * density, y0 - 3 * density, 6 * density, 6 * density);
    paint.beginPath();
    paint.arc(x1, y1, 3.5 * density, 0, 7);
    paint.fill();
  }

  #name(index) {
    const { data, state } = this.viewer, { kind, volume, plane } = this.shown, title = (n) => data.volumes[n].label;
    const dot = (n) => `<i style="background:${colourOf(n)}"></i>`, safe = (t) => t.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);
    let name = state.mode === "planes" ? `${safe(title(volume))}, ${plane}` : dot(volume) + safe(title(volume));
    if (kind === "diff") name = `${safe(title(volume))} − ${safe(title(state.b))}`;
    this.labels.name.innerHTML = name;
    this.labels["name right"].innerHTML = kind === "wipe" ? dot(state.b) + safe(title(state.b)) : "";
    const letters = data.letters ? LETTERS[plane] : ["", "", "", ""];
    ["t", "b", "l", "r"].forEach((s, n) => { this.labels[`side ${s}`].textContent = letters[n]; });
    const what = kind === "wipe" ? `${title(volume)} left of the wipe, ${title(state.b)} right` : this.labels.name.textContent;
    this.canvas.setAttribute("aria-label", `${plane} slice ${index + 1}: ${what}`);
  }

  // Row and column (voxel centres at whole numbers) under a pointer.
  under(event) {
    const box = this.canvas.getBoundingClientRect(), density = this.canvas.width / box.width;
    return [((event.clientY - box.top) * density - this.corner[0]) / this.step[0] - 0.5,
      ((event.clientX - box.left) * density - this.corner[1]) / this.step[1] - 0.5];
  }

  #listen() {
    const viewer = this.viewer;
    let start = null, wiping = false;
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.isTrusted) this.canvas.setPointerCapture(event.pointerId);
      start = this.under(event);
      const density = this.canvas.width / this.canvas.getBoundingClientRect().width;
      wiping = this.shown.kind === "wipe" && Math.abs(event.offsetX * density - this.#edge()[2]) < 16 * density;
      this.#drag(event, start, wiping);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (start) this.#drag(event, start, wiping);
      else viewer.hover?.(this.under(event), this.shown);
    });
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, () => { start = null; });
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.deltaY) viewer.step(this.shown.plane, Math.sign(event.deltaY));
    }, { passive: false });
  }

  #drag(event, start, wiping) {
    const viewer = this.viewer, { data, state } = viewer, plane = this.shown.plane;
    const inside = this.under(event).map((v, n) => Math.min(Math.max(v, 0), data.size(plane)[n] - 1));
    if (wiping) {
      const density = this.canvas.width / this.canvas.getBoundingClientRect().width, [left, right] = this.#edge();
      viewer.set({ wipe: Math.min(1, Math.max(0, (event.offsetX * density - left) / (right - left))) });
    } else if (state.tool === "profile") {
      viewer.set({ line: { plane, from: start, to: inside } });
    } else {
      data.axes(plane).forEach((axis, n) => {
        const next = Math.round(inside[n]);
        viewer.at[axis] = data.full ? next : data.nearest(PLANES[axis], next);
      });
      viewer.set({});
      viewer.hover?.(inside, this.shown);
    }
  }
}
