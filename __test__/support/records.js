'use strict';

// User records that apps pass unchanged.

/** Like Decimal.js, which Prisma uses: a class instance with short field names. */
class Decimal {
  s = 1;
  e = 2;
  d = [1234, 5_000_000];
  constructor() {
    Object.defineProperty(this, 'toStringTag', { value: 'Decimal' });
  }
  toJSON() {
    return '1234.5';
  }
}

/** A user as an ORM returns it, with relations and an identity for the room. */
const ormUser = () => ({
  id: 9_007_199_254_740_993n,
  uuid: '0b6f2f0e-8f5c-4b0f-9d5c-0a4a5f0c7a11',
  identity: 'ann',
  name: 'Ann',
  fname: 'Ann',
  lname: null,
  email: 'ann@example.org',
  emailVerified: null,
  passwordHash: Buffer.from('secret hash'),
  age: 41,
  date: new Date(0),
  page: 3,
  home: null,
  hide: false,
  hint: null,
  candidate: true,
  canceledAt: null,
  cancelledBy: null,
  createdAt: new Date(0),
  updatedAt: new Date(1),
  deletedAt: undefined,
  published: false,
  publishedAt: null,
  subscriber: true,
  subscribedAt: new Date(2),
  balance: new Decimal(),
  embedding: new Float32Array(3),
  preferences: { canPublsh: false, theme: 'dark', locale: null },
  roles: ['host', null],
  posts: [{ id: 1n, title: 'Tea', author: { identity: 'ann' } }],
  organisation: { id: 1, name: 'Tea Ltd', settings: new Map([['seats', 5]]) },
  metadata: null,
  attributes: null,
  ttlSecs: null,
  is_hidden: 0,
  can_admin: true,
});

/** Plausible columns of user records, and words close to the names of options, such as `canal`: none is a misspelling. */
const COLUMNS = `
  id uuid guid pk key slug type kind code tag label title names nickname fname lname fullname surname username user userId user_id login handle
  email mail phone mobile fax age date day time page home house host city town state zip country street address lat lng lon geo bio about avatar
  image photo picture url link website locale lang language timezone tz gender sex dob birthday birthdate role roles rank level score points
  status active enabled disabled deleted archived banned blocked locked verified confirmed approved pending hide hints hint hid hits hides ridge bidder
  isHidden is_hidden isDeleted is_admin isAdmin admin owner member members group groups team teams org orgId org_id tenant tenantId account accountId
  plan tier seats price cost amount balance currency total tax vat invoice card iban candidate candidateId candidates canceled cancelled canceledAt
  cancelledAt canceled_at cancellation cancelReason cancelUrl can canAdmin can_admin canEdit canDelete can_read can_write canView canManage canSpeak
  canUpdate canInvite canModerate canDownload canUpload canRecord canShare cannotPublish canal canvas canton candy canary cane
  published publishedAt published_at publisher publisherId publish public publicKey public_key isPublished publishDate
  subscribed subscribedAt subscriber subscribers subscription subscriptionId subscriptions subscribe unsubscribedAt
  data metadata2 meta metaData meta_data metrics attribute attrs attributions props properties options settings prefs preferences config extra details
  notes note comment comments description summary body text content message messages token tokens session sessions secret password passwordHash
  salt hash otp totp mfa ttl ttlMs ttl_ms ttls expires expiresAt expires_at createdAt created_at updatedAt updated_at deletedAt deleted_at
  lastLogin last_login lastSeen last_seen lastSeenAt joinedAt joined_at leftAt startedAt endedAt startsAt endsAt start end duration seconds secs
  source sources refs ref referrer campaign utm version revision etag index order position sort parent parentId children path depth
  identiy identity2 identifier identities ident identityId identity_id nameId name2 attribute_s roomSetting room roomId room_id rooms
  constructor toString hasOwnProperty then toJSON length size __v _id $id @id
`
  .trim()
  .split(/\s+/);

module.exports = { COLUMNS, ormUser };
