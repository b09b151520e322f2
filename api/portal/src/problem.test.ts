import { describe, expect, it } from 'vitest';
import { ApiError } from './api';
import { locate, said, sentence } from './problem';

describe('locate', () => {
  it.each([
    ['body.email', { field: 'email', entry: null }],
    ['body.numbers[2]', { field: 'numbers', entry: 3 }],
    ['body.to.id', { field: 'to.id', entry: null }],
    ['body.to.kind', { field: 'to', entry: null }],
    ['query.office', { field: 'office', entry: null }],
    ['body.emails', null],
    ['body', null],
  ])('%s', (location, want) => expect(locate(location, ['email', 'numbers', 'to', 'to.id', 'office'])).toEqual(want));
});

describe('sentence', () => {
  it.each([
    ['Email', 'is taken', 'Email is taken.'],
    ['Name', 'must not be empty', 'Name must not be empty.'],
    ['Name', 'expected length >= 1', 'Name: expected length >= 1.'],
  ])('%s + %s', (name, message, want) => expect(sentence(name, message)).toBe(want));
});

describe('said', () => {
  const labels = { email: 'Email', numbers: 'Numbers' };
  const problem = (...errors: { location: string; message: string }[]) => new ApiError(422, 'all in one line', { errors });

  it('puts each remark beside its field', () => {
    const got = said(problem({ location: 'body.email', message: 'is taken' }, { location: 'body.numbers[0]', message: 'is not a valid number' }, { location: 'body.numbers[1]', message: 'is taken' }), labels);
    expect(got).toEqual({ fields: { email: 'Email is taken.', numbers: 'Entry 1 is not a valid number. Entry 2 is taken.' }, rest: '' });
  });

  it('keeps what belongs to no field', () => {
    expect(said(problem({ location: 'body.lnp_id', message: 'is taken' }), labels)).toEqual({ fields: {}, rest: 'Lnp id is taken.' });
    expect(said(new ApiError(409, 'the source would be left without a number'), labels)).toEqual({ fields: {}, rest: 'The source would be left without a number' });
    expect(said(new TypeError('Failed to fetch'), labels).rest).toBe('Failed to fetch');
  });

  it('says nothing where nothing is wrong', () => expect(said(null, labels)).toEqual({ fields: {}, rest: '' }));
});
