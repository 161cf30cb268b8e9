// The line profile of all volumes, drawn on one canvas.
class Profile {
  constructor(viewer, canvas, output) {
    Object.assign(this, { viewer, canvas, output });
    canvas.addEventListener("pointermove", (event) => this.read(event.offsetX));
    canvas.addEventListener("pointerleave", () => this.read(null));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  // Distances in mm and one array of values for each volume.
  curves() {
    const { data, state, at } = this.viewer, line = state.line;
    if (!line) return null;
    const [rows, columns] = data.size(line.plane), [dy, dx] = data.pixel(line.plane);
    const steps = [line.to[0] - line.from[0], line.to[1] - line.from[1]];
    const length = Math.hypot(steps[0] * dy, steps[1] * dx);
    if (length < Math.min(dy, dx)) return null;
    const count = Math.min(600, Math.max(2, Math.ceil((2 * length) / Math.min(dy, dx))));
    const x = Array.from({ length: count }, (_, n) => (length * n) / (count - 1));
    const index = at[PLANES.indexOf(line.plane)];
    const values = data.volumes.map((_, volume) => {
      const slice = data.slice(volume, line.plane, index);
      return x.map((d) => Data.sample(slice, rows, columns, line.from[0] + (steps[0] * d) / length, line.from[1] + (steps[1] * d) / length));
    });
    return { x, values, length };
  }

  draw() {
    const density = window.devicePixelRatio || 1, width = this.canvas.clientWidth || 600, height = 260;
    this.canvas.width = width * density;
    this.canvas.height = height * density;
    this.canvas.style.height = `${height}px`;
    const paint = this.canvas.getContext("2d");
    paint.scale(density, density);
    paint.font = "12px system-ui, sans-serif";
    const found = (this.found = this.curves());
    if (!found) {
      paint.fillStyle = style("--soft");
      paint.fillText("No line yet.", 20, 30);
      return;
    }
    const all = found.values.flat(), low = Math.min(...all), high = Math.max(...all), margin = (high - low || 1) * 0.06;
    const frame = (this.frame = { left: 62, right: width - 14, top: 12, bottom: height - 36, low: low - margin, high: high + margin });
    this.#axes(paint, frame, found.length);
    found.values.forEach((values, n) => {
      paint.strokeStyle = colourOf(n);
      paint.lineWidth = 1.8;
      paint.setLineDash(Profile.DASHES[n % 8]);
      paint.beginPath();
      values.forEach((v, k) => paint.lineTo(this.#x(found.x[k]), this.#y(v)));
      paint.stroke();
    });
    paint.setLineDash([]);
    this.canvas.setAttribute("aria-label", `Line profile, ${found.length.toFixed(1)} mm long, of ${found.values.length} volumes`);
    this.read(null);
  }

  #x(mm) { return this.frame.left + (mm / this.found.length) * (this.frame.right - this.frame.left); }
  #y(v) { return this.frame.bottom - ((v - this.frame.low) / (this.frame.high - this.frame.low)) * (this.frame.bottom - this.frame.top); }

  #axes(paint, frame, length) {
    paint.fillStyle = style("--soft");
    paint.strokeStyle = style("--line");
    paint.lineWidth = 1;
    paint.textAlign = "right";
    for (const tick of ticks(frame.low, frame.high)) {
      paint.beginPath();
      paint.moveTo(frame.left, this.#y(tick));
      paint.lineTo(frame.right, this.#y(tick));
      paint.stroke();
      paint.fillText(tidy(tick), frame.left - 8, this.#y(tick) + 4);
    }
    paint.textAlign = "center";
    for (const tick of ticks(0, length)) paint.fillText(tidy(tick), this.#x(tick), frame.bottom + 16);
    paint.fillText("mm along the line", (frame.left + frame.right) / 2, frame.bottom + 31);
    paint.save();
    paint.translate(14, (frame.top + frame.bottom) / 2);
    paint.rotate(-Math.PI / 2);
    paint.fillText(this.viewer.data.unit, 0, 0);
    paint.restore();
  }

  // Tell the values below the pointer, or what the line spans.
  read(x) {
    const found = this.found;
    if (!found) return;
    const { volumes, unit } = this.viewer.data;
    if (x === null) {
      this.output.textContent = `The line is ${found.length.toFixed(1)} mm long.`;
      return;
    }
    const share = Math.min(1, Math.max(0, (x - this.frame.left) / (this.frame.right - this.frame.left)));
    const n = Math.round(share * (found.x.length - 1));
    const told = volumes.map((v, k) => `${v.label} ${tidy(found.values[k][n], 4)}`).join(" · ");
    this.output.textContent = `${found.x[n].toFixed(1)} mm: ${told} ${unit}`;
  }
}
Profile.DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 2], [12, 4], [1, 4], [6, 2, 1, 2]];

function ticks(low, high, wanted = 5) {
  const width = high - low || 1, power = 10 ** Math.floor(Math.log10(width / wanted));
  const step = [1, 2, 5, 10].map((m) => m * power).sort((a, b) => Math.abs(width / a - wanted) - Math.abs(width / b - wanted))[0];
  const out = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n++) out.push(n * step);
  return out;
}

function tidy(value, digits = 6) {
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}
