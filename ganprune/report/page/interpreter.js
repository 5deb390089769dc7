// Runs a generator: the layers that `ganprune export --format torch` describes, one image at a time, in plain
// JavaScript. It is the text of a worker, so that the page never waits for it.
//
// A tensor is {data: Float32Array, channels, height, width}, row by row and channel by channel.
"use strict";

const BLOCK = 4; // outputs and pixels that the innermost loop computes at once, each way
const PANEL = 32768; // numbers of a panel of inputs: it stays in the processor's cache

const tensor = (channels, height, width) => ({
  channels, height, width, data: new Float32Array(channels * height * width),
});

// --- matrix products: rows are outputs, columns are pixels

// A matrix (rows x depth) in blocks of rows, as the innermost loop reads it; `at` gives an element's place.
function packed(matrix, rows, depth, at) {
  const blocks = Math.ceil(rows / BLOCK);
  const result = new Float64Array(blocks * depth * BLOCK);
  for (let row = 0; row < rows; row++) {
    const start = Math.floor(row / BLOCK) * depth * BLOCK + (row % BLOCK);
    for (let k = 0; k < depth; k++) result[start + k * BLOCK] = matrix[at(row, k)];
  }
  return result;
}

// result[row, column] = sum over k of weights[row, k] * inputs[k, column] + bias[row]
function product({ weights, rows, depth, bias }, columns, fill, result) {
  const wide = Math.max(BLOCK, Math.floor(PANEL / depth / BLOCK) * BLOCK);
  const panel = new Float64Array(depth * wide);
  for (let first = 0; first < columns; first += wide) {
    const count = Math.min(wide, columns - first);
    if (count % BLOCK) panel.fill(0, Math.floor(count / BLOCK) * depth * BLOCK);
    fill(panel, first, count);
    for (let row = 0; row < rows; row += BLOCK) {
      for (let column = 0; column < count; column += BLOCK) {
        const last = Math.min(BLOCK, count - column), place = first + column;
        multiply(weights, row * depth, panel, column * depth, depth, bias, row, result, columns, place, last, rows);
      }
    }
  }
}

// One block of 4 x 4 results. Written out, so that they stay in registers.
function multiply(a, i, b, j, depth, bias, row, result, columns, column, last, rows) {
  let s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
  let s20 = 0, s21 = 0, s22 = 0, s23 = 0, s30 = 0, s31 = 0, s32 = 0, s33 = 0;
  for (let k = 0; k < depth; k++, i += 4, j += 4) {
    const b0 = b[j], b1 = b[j + 1], b2 = b[j + 2], b3 = b[j + 3];
    const a0 = a[i], a1 = a[i + 1], a2 = a[i + 2], a3 = a[i + 3];
    s00 += a0 * b0; s01 += a0 * b1; s02 += a0 * b2; s03 += a0 * b3;
    s10 += a1 * b0; s11 += a1 * b1; s12 += a1 * b2; s13 += a1 * b3;
    s20 += a2 * b0; s21 += a2 * b1; s22 += a2 * b2; s23 += a2 * b3;
    s30 += a3 * b0; s31 += a3 * b1; s32 += a3 * b2; s33 += a3 * b3;
  }
  const sums = [s00, s01, s02, s03, s10, s11, s12, s13, s20, s21, s22, s23, s30, s31, s32, s33];
  for (let r = 0; r < BLOCK && row + r < rows; r++) {
    const start = (row + r) * columns + column;
    const added = bias ? bias[row + r] : 0;
    for (let c = 0; c < last; c++) result[start + c] = sums[r * BLOCK + c] + added;
  }
}

// --- layers

function convolution(layer, x) {
  const [kh, kw] = layer.kernel_size, [sh, sw] = layer.stride, [ph, pw] = layer.padding;
  const height = Math.floor((x.height + 2 * ph - kh) / sh) + 1, width = Math.floor((x.width + 2 * pw - kw) / sw) + 1;
  const depth = layer.in_channels * kh * kw, rows = layer.out_channels;
  layer.packed ??= packed(layer.weight, rows, depth, (row, k) => row * depth + k);
  const result = tensor(rows, height, width);
  const { data } = x;
  const fill = (panel, first, count) => {
    for (let column = 0; column < count; column++) {
      const top = Math.floor((first + column) / width) * sh - ph, left = ((first + column) % width) * sw - pw;
      let place = Math.floor(column / BLOCK) * depth * BLOCK + (column % BLOCK);
      for (let channel = 0; channel < x.channels; channel++) {
        const plane = channel * x.height * x.width;
        for (let i = top; i < top + kh; i++) {
          const line = plane + i * x.width, inside = i >= 0 && i < x.height;
          for (let j = left; j < left + kw; j++, place += BLOCK) {
            panel[place] = inside && j >= 0 && j < x.width ? data[line + j] : 0;
          }
        }
      }
    }
  };
  product({ weights: layer.packed, rows, depth, bias: layer.bias }, height * width, fill, result.data);
  return result;
}

// Every pixel's contributions by one product, then added where they belong.
function transposed(layer, x) {
  const [kh, kw] = layer.kernel_size, [sh, sw] = layer.stride, [ph, pw] = layer.padding;
  const [eh, ew] = layer.output_padding;
  const height = (x.height - 1) * sh - 2 * ph + kh + eh, width = (x.width - 1) * sw - 2 * pw + kw + ew;
  const depth = layer.in_channels, pixels = x.height * x.width, rows = layer.out_channels * kh * kw;
  layer.packed ??= packed(layer.weight, rows, depth, (row, k) => k * rows + row);
  const parts = new Float32Array(rows * pixels);
  const fill = (panel, first, count) => {
    for (let k = 0; k < depth; k++) {
      for (let column = 0; column < count; column++) {
        const place = (Math.floor(column / BLOCK) * depth + k) * BLOCK + (column % BLOCK);
        panel[place] = x.data[k * pixels + first + column];
      }
    }
  };
  product({ weights: layer.packed, rows, depth, bias: null }, pixels, fill, parts);
  const result = tensor(layer.out_channels, height, width);
  for (let row = 0; row < rows; row++) {
    const channel = Math.floor(row / (kh * kw)), i = Math.floor(row / kw) % kh, j = row % kw;
    for (let y = 0; y < x.height; y++) {
      const down = y * sh - ph + i;
      if (down < 0 || down >= height) continue;
      const line = (channel * height + down) * width, from = row * pixels + y * x.width;
      for (let along = j - pw, c = 0; c < x.width; c++, along += sw) {
        if (along >= 0 && along < width) result.data[line + along] += parts[from + c];
      }
    }
  }
  if (layer.bias) addPlanes(result, (channel) => [1, layer.bias[channel]]);
  return result;
}

// Multiply each channel and add to it, in place.
function addPlanes(x, of) {
  const pixels = x.height * x.width;
  for (let channel = 0; channel < x.channels; channel++) {
    const [scale, shift] = of(channel), end = (channel + 1) * pixels;
    for (let place = channel * pixels; place < end; place++) x.data[place] = x.data[place] * scale + shift;
  }
  return x;
}

const normalised = (layer, channel, mean, variance) => {
  const scale = (layer.weight ? layer.weight[channel] : 1) / Math.sqrt(variance + layer.eps);
  return [scale, (layer.bias ? layer.bias[channel] : 0) - mean * scale];
};

function instanceNorm(layer, x) {
  const pixels = x.height * x.width;
  return addPlanes(x, (channel) => {
    let sum = 0, squares = 0;
    const start = channel * pixels, end = start + pixels;
    for (let place = start; place < end; place++) sum += x.data[place];
    const mean = sum / pixels;
    for (let place = start; place < end; place++) squares += (x.data[place] - mean) ** 2;
    return normalised(layer, channel, mean, squares / pixels);
  });
}

const batchNorm = (layer, x) =>
  addPlanes(x, (channel) => normalised(layer, channel, layer.running_mean[channel], layer.running_var[channel]));

const REFLECT = (place, size) => {
  const last = size - 1;
  return last - Math.abs(last - Math.abs(place));
};
const REPLICATE = (place, size) => Math.min(Math.max(place, 0), size - 1);
const ZERO = (place, size) => (place >= 0 && place < size ? place : -1);

function padded(layer, x, from) {
  const [left, right, top, bottom] = layer.padding;
  const result = tensor(x.channels, x.height + top + bottom, x.width + left + right);
  const across = Array.from({ length: result.width }, (_, j) => from(j - left, x.width));
  let place = 0;
  for (let channel = 0; channel < x.channels; channel++) {
    for (let i = 0; i < result.height; i++) {
      const down = from(i - top, x.height), line = (channel * x.height + down) * x.width;
      for (let j = 0; j < result.width; j++, place++) {
        result.data[place] = down < 0 || across[j] < 0 ? 0 : x.data[line + across[j]];
      }
    }
  }
  return result;
}

// Which two neighbours a place of the enlarged image lies between, and how far from the first; corners not aligned.
function neighbours(length, size, scale, smooth) {
  return Array.from({ length }, (_, place) => {
    if (!smooth) return [Math.min(Math.floor(place / scale), size - 1), 0, 0];
    const at = Math.max((place + 0.5) / scale - 0.5, 0), first = Math.min(Math.floor(at), size - 1);
    return [first, Math.min(first + 1, size - 1), at - first];
  });
}

function upsample(layer, x) {
  const smooth = layer.mode === "bilinear", scale = layer.scale_factor;
  const result = tensor(x.channels, Math.floor(x.height * scale), Math.floor(x.width * scale));
  const down = neighbours(result.height, x.height, scale, smooth);
  const across = neighbours(result.width, x.width, scale, smooth);
  let place = 0;
  for (let channel = 0; channel < x.channels; channel++) {
    for (const [top, bottom, low] of down) {
      const first = (channel * x.height + top) * x.width, second = (channel * x.height + bottom) * x.width;
      for (const [left, right, share] of across) {
        if (!smooth) {
          result.data[place++] = x.data[first + left];
          continue;
        }
        const above = x.data[first + left] * (1 - share) + x.data[first + right] * share;
        const below = x.data[second + left] * (1 - share) + x.data[second + right] * share;
        result.data[place++] = above * (1 - low) + below * low;
      }
    }
  }
  return result;
}

function each(x, of) {
  for (let place = 0; place < x.data.length; place++) x.data[place] = of(x.data[place]);
  return x;
}

function sum(x, y) {
  for (let place = 0; place < x.data.length; place++) x.data[place] += y.data[place];
  return x;
}

const copy = (x) => ({ ...x, data: x.data.slice() });

const KINDS = {
  Conv2d: convolution,
  ConvTranspose2d: transposed,
  InstanceNorm2d: instanceNorm,
  BatchNorm2d: batchNorm,
  ReflectionPad2d: (layer, x) => padded(layer, x, REFLECT),
  ReplicationPad2d: (layer, x) => padded(layer, x, REPLICATE),
  ZeroPad2d: (layer, x) => padded(layer, x, ZERO),
  Upsample: upsample,
  ReLU: (layer, x) => each(x, (value) => (value > 0 ? value : 0)),
  Tanh: (layer, x) => each(x, Math.tanh),
  Identity: (layer, x) => x,
  Dropout: (layer, x) => x,
  Residual: (layer, x) => sum(run(layer.layers, copy(x)), x),
};

function run(layers, x, report) {
  layers.forEach((layer, index) => {
    x = KINDS[layer.kind](layer, x);
    if (report) report((index + 1) / layers.length);
  });
  return x;
}

// The whole generator; with `adds`, what its layers make is added to the image.
function generate(network, x, report) {
  const made = run(network.layers, copy(x), report);
  if (!network.adds) return made;
  return each(sum(made, x), (value) => Math.min(Math.max(value, -1), 1));
}

// --- tensors as the page holds them

// Half precision (IEEE 754) to numbers.
function halves(bits) {
  return Float32Array.from(bits, (half) => {
    const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return exponent === 31 ? NaN : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

// Give layers the tensors that they name by [first byte, count, bits of each].
function fill(layers, bytes) {
  for (const layer of layers) {
    for (const [name, [start, count, bits]] of Object.entries(layer.tensors ?? {})) {
      const part = bytes.slice(start, start + (count * bits) / 8);
      layer[name] = bits === 16 ? halves(new Uint16Array(part)) : new Float32Array(part);
    }
    if (layer.layers) fill(layer.layers, bytes);
  }
}

const networks = new Map();

// {load: name, network: {layers, adds}, bytes}, or {name, job, image: tensor}.
self.onmessage = ({ data }) => {
  if (data.load !== undefined) {
    fill(data.network.layers, data.bytes);
    networks.set(data.load, data.network);
    return;
  }
  const begun = performance.now();
  const report = (share) => self.postMessage({ job: data.job, share });
  const image = generate(networks.get(data.name), data.image, report);
  self.postMessage({ job: data.job, image, milliseconds: performance.now() - begun }, [image.data.buffer]);
};
