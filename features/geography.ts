/** Places as single integers: latitude and longitude to 5 decimals of a degree, about a metre. */
const unit = 1e5;
const longitudes = 360 * unit + 1;

/** @param latitude, longitude in degrees, within ±90 and ±180. */
export function packPlace(latitude: number, longitude: number): number {
  return Math.round((latitude + 90) * unit) * longitudes + Math.round((longitude + 180) * unit);
}

const earthRadiusKm = 6371.0088;
const radians = (degrees: number) => (degrees * Math.PI) / 180;

/** Great-circle distance of two packed places by the haversine formula, kilometres. */
export function kilometresBetween(from: number, to: number): number {
  const [latitudeA, longitudeA] = unpackPlace(from);
  const [latitudeB, longitudeB] = unpackPlace(to);
  const a =
    Math.sin(radians(latitudeB - latitudeA) / 2) ** 2 +
    Math.cos(radians(latitudeA)) * Math.cos(radians(latitudeB)) * Math.sin(radians(longitudeB - longitudeA) / 2) ** 2;
  return 2 * earthRadiusKm * Math.asin(Math.min(1, Math.sqrt(a)));
}

/** [latitude, longitude] in degrees. */
export function unpackPlace(place: number): readonly [number, number] {
  const latitude = Math.floor(place / longitudes);
  return [latitude / unit - 90, (place - latitude * longitudes) / unit - 180];
}
