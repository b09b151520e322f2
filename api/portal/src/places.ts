// Where people and numbers belong: offices, departments, rooms and contact centres.
import type { OwnerKind, PlaceKind } from './directory';

export interface PlaceWords {
  kind: PlaceKind;
  owner: Exclude<OwnerKind, 'user'>;
  one: string;
  many: string;
  /** members are users who belong to it; a room has none. */
  members: 'office' | 'department' | 'contact_center' | null;
}

export const placeKinds: PlaceWords[] = [
  { kind: 'offices', owner: 'office', one: 'office', many: 'Offices', members: 'office' },
  { kind: 'departments', owner: 'department', one: 'department', many: 'Departments', members: 'department' },
  { kind: 'rooms', owner: 'room', one: 'room', many: 'Rooms', members: null },
  { kind: 'contact-centers', owner: 'contact_center', one: 'contact centre', many: 'Contact centres', members: 'contact_center' },
];

export const placeWords = (kind: PlaceKind): PlaceWords => placeKinds.find((p) => p.kind === kind)!;

/** placeOf says in which list an owner of a number is; null for a user, and for what this portal does not know. */
export const placeOf = (owner: string): PlaceWords | null => placeKinds.find((p) => p.owner === owner) ?? null;

export const ownerWord = (owner: string): string => placeOf(owner)?.one ?? owner.replaceAll('_', ' ');
