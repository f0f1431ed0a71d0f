// Names beside markers. A name that finds no free place is left out: the legend and the
// hovering name every marker.

const LABEL_HEIGHT = 15;

const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

// Places `{ x, y, radius, title }`; gives `[point, box]` of those with a place. No box meets
// another, a marker, or the edge of `bounds`; boxes are left, top, right, bottom.
function placeLabels(points, bounds) {
  const markers = points.map((p) => {
    const reach = p.radius * 1.1;
    return [p.x - reach, p.y - reach, p.x + reach, p.y + reach];
  });
  const placed = [];
  const isFree = (box) =>
    box[0] >= bounds[0] && box[1] >= bounds[1] && box[2] <= bounds[2] && box[3] <= bounds[3] &&
    !markers.some((marker) => overlap(marker, box)) &&
    !placed.some(([, other]) => overlap(other, box));
  for (const point of points) {
    const width = textWidth(point.title) + 4;
    const box = candidates(point, width).find(isFree);
    if (box) placed.push([point, box]);
  }
  return placed;
}

// Right, left, above, below, then the corners; then all of them further away.
function candidates({ x, y, radius }, width) {
  const half = LABEL_HEIGHT / 2;
  return [radius * 1.1 + 2, radius * 1.1 + 10].flatMap((away) => {
    const [side, edge] = [away + width / 2, away + half];
    const slope = away * 0.75;
    const middles = [
      [side, 0], [-side, 0], [0, -edge], [0, edge],
      [slope + width / 2, -slope - half], [slope + width / 2, slope + half],
      [-slope - width / 2, -slope - half], [-slope - width / 2, slope + half],
    ];
    return middles.map(([dx, dy]) => {
      const [across, down] = [x + dx, y + dy];
      return [across - width / 2, down - half, across + width / 2, down + half];
    });
  });
}
