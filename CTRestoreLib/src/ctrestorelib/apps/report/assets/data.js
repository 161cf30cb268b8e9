// Unpacks the embedded volumes and answers "which values does this slice have?".
const PLANES = ["axial", "coronal", "sagittal"];

class Data {
  constructor(manifest) {
    Object.assign(this, manifest);
    this.stores = this.volumes.map(() => ({}));
    this.cache = new Map();
  }

  // Rows and columns of a plane, as display axes: 0 head to foot, 1 front to back, 2 right to left.
  axes(plane) { return [0, 1, 2].filter((a) => a !== PLANES.indexOf(plane)); }
  size(plane) { return this.axes(plane).map((a) => this.shape[a]); }
  pixel(plane) { return this.axes(plane).map((a) => this.spacing[a]); }

  async load() {
    for (let n = 0; n < this.volumes.length; n++) {
      for (const name of this.full ? ["full"] : PLANES) {
        const element = document.getElementById(`data-${n}-${name}`);
        const [, columns] = this.full ? [0, this.shape[2]] : this.size(name);
        this.stores[n][name] = await unpack(element.textContent, columns);
        element.remove();
      }
    }
  }

  // The held slice that is nearest to the one asked for.
  nearest(plane, index) {
    const held = this.slices[plane];
    return held.reduce((best, s) => (Math.abs(s - index) < Math.abs(best - index) ? s : best), held[0]);
  }

  // Values [row * columns + column] of a slice, in the unit of the volume.
  slice(volume, plane, index) {
    const key = `${volume}/${plane}/${index}`;
    const known = this.cache.get(key);
    if (known) return known;
    const [rows, columns] = this.size(plane);
    const out = new Float32Array(rows * columns);
    const [source, start, rowStep, columnStep] = this.#walk(volume, plane, index);
    for (let r = 0, o = 0; r < rows; r++) {
      for (let c = 0, at = start + r * rowStep; c < columns; c++, at += columnStep) {
        out[o++] = this.low + this.step * source[at];
      }
    }
    if (this.cache.size > 64) this.cache.delete(this.cache.keys().next().value);
    this.cache.set(key, out);
    return out;
  }

  #walk(volume, plane, index) {
    const [, , nc] = this.shape;
    if (!this.full) {
      const [rows, columns] = this.size(plane);
      const position = this.slices[plane].indexOf(index);
      return [this.stores[volume][plane], position * rows * columns, columns, 1];
    }
    const area = this.shape[1] * nc;
    const source = this.stores[volume].full;
    if (plane === "axial") return [source, index * area, nc, 1];
    if (plane === "coronal") return [source, index * nc, area, 1];
    return [source, index, area, nc];
  }

  // Bilinear value of a slice array at fractional row and column.
  static sample(values, rows, columns, row, column) {
    const r = Math.min(Math.max(row, 0), rows - 1), c = Math.min(Math.max(column, 0), columns - 1);
    const r0 = Math.min(Math.floor(r), Math.max(rows - 2, 0)), c0 = Math.min(Math.floor(c), Math.max(columns - 2, 0));
    const r1 = Math.min(r0 + 1, rows - 1), c1 = Math.min(c0 + 1, columns - 1);
    const fr = r - r0, fc = c - c0;
    return values[r0 * columns + c0] * (1 - fr) * (1 - fc) + values[r0 * columns + c1] * (1 - fr) * fc
      + values[r1 * columns + c0] * fr * (1 - fc) + values[r1 * columns + c1] * fr * fc;
  }

  // Patient position in LPS millimetres of a display voxel.
  world(position) {
    const kji = [0, 0, 0];
    this.order.forEach((axis, n) => {
      kji[axis] = this.flips[n] ? this.shape[n] - 1 - position[n] : position[n];
    });
    const ijk = [kji[2], kji[1], kji[0], 1];
    return [0, 1, 2].map((row) => this.ijk_to_lps[row].reduce((sum, m, n) => sum + m * ijk[n], 0));
  }
}

async function unpack(base64, columns) {
  const text = atob(base64);
  const packed = new Uint8Array(text.length);
  for (let n = 0; n < text.length; n++) packed[n] = text.charCodeAt(n);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = bytes.length / 2;
  const out = new Uint16Array(count);
  for (let n = 0, sum = 0; n < count; n++) {
    if (n % columns === 0) sum = 0;
    const folded = bytes[n] | (bytes[n + count] << 8);
    sum = (sum + ((folded >>> 1) ^ -(folded & 1))) & 0xffff;
    out[n] = sum;
  }
  return out;
}
