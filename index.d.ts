/// <reference lib="esnext.disposable" />

// Needs TypeScript 5.2 or newer, for `AsyncDisposable`.
// Results are plain data: numbers, strings, objects and arrays. Times are milliseconds since the epoch; durations have their unit in their name.

/** A live room, as the server reports it. */
export interface MediaRoomInfo {
  /** The room's name, without `roomPrefix`. */
  name: string;
  /** Participants in the room: hidden ones count, agents do not. On LiveKit up to 10 s old. */
  numParticipants: number;
  /** Maximum participants at once; `0`: no limit. */
  maxParticipants: number;
  /** When the room was created, in milliseconds since the epoch. */
  createdAt: number;
  /** Always `true`, because a server lists only open rooms. An open room may be empty. */
  active: boolean;
}

/**
 * Settings of a new room. Numbers are whole, from 0 to 4,294,967,295; a room that is already live keeps its settings.
 * At run time `null` counts as absent. A misspelt limit or timeout is `INVALID_ARGUMENT`.
 */
export interface MediaRoomInfoSettings {
  /** Maximum participants at once; default `0`: no limit. */
  maxParticipants?: number | undefined;
  /**
   * Seconds after which an empty room closes, before the first join and after the last leave; up to 2 s late.
   * Default `0`: the server's defaults (300 s before the first join, 20 s after the last leave).
   */
  emptyTimeoutSecs?: number | undefined;
  /** Seconds after which the room closes once the last participant has left; default: `emptyTimeoutSecs`. */
  departureTimeoutSecs?: number | undefined;
  /** Text that every participant of the room can read, by LiveKit's default at most 512 KiB; default: none. */
  metadata?: string | undefined;
}

/** The source of a participant's track, as in LiveKit. */
export type MediaTrackSource = 'camera' | 'microphone' | 'screen_share' | 'screen_share_audio';

/**
 * The participant that a token is minted for, and its permissions. Other keys, such as those of a whole user record, are ignored and
 * never enter the token; a misspelt restriction, such as `canPublsh`, is `INVALID_ARGUMENT`. At run time `null` counts as absent in
 * `name`, `metadata`, `attributes` and `ttlSecs`; in a permission it is `INVALID_ARGUMENT`.
 */
export interface MediaParticipantInfo {
  /** Unique within the room: a second join with the same identity disconnects the first. 1 to 256 bytes of UTF-8 without control characters. */
  identity: string;
  /** The name that other participants see. */
  name: string;
  /** May publish audio and video; default `true`. */
  canPublish?: boolean | undefined;
  /** May receive the tracks of others; default `true`. */
  canSubscribe?: boolean | undefined;
  /** May send data messages; default `true`, independent of `canPublish`. */
  canPublishData?: boolean | undefined;
  /** The sources that it may publish, at least one; default: all. To allow none, set `canPublish` to `false`. */
  canPublishSources?: readonly MediaTrackSource[] | undefined;
  /** May update its own name, metadata and attributes; default `false`. */
  canUpdateOwnMetadata?: boolean | undefined;
  /** Not shown to other participants; default `false`. */
  hidden?: boolean | undefined;
  /** Text about the participant, readable by everyone in the room; default: none. */
  metadata?: string | undefined;
  /** Key-value strings about the participant, readable by everyone in the room; default: none. */
  attributes?: Readonly<Record<string, string>> | undefined;
  /** Lifetime of the token in seconds, 1 to 2,592,000 (30 days); default: `tokenTtlSecs` of the configuration. */
  ttlSecs?: number | undefined;
  /** Settings of the room if this join creates it, for example after the room has timed out. Pass the same as to `createRoom`. */
  roomSettings?: MediaRoomInfoSettings | undefined;
}

/** A token, and the URL to join with it. */
export interface MediaTokenResult {
  /** The signed token (JWT). Send it to its participant only, and mint a new one for each join. */
  token: string;
  /** The ws or wss URL to connect to. */
  url: string;
  /** When the token expires, in milliseconds since the epoch. Participants that have joined stay connected. */
  expiresAt: number;
}

/** A track that a participant has published. */
export interface MediaTrack {
  /** The server's id of the track. */
  sid: string;
  /** `unknown` if the client has not set one. */
  source: MediaTrackSource | 'unknown';
  kind: 'audio' | 'video' | 'data';
  /** Whether the publisher has muted the track. */
  muted: boolean;
}

/** A participant in a room, as the server reports it. */
export interface MediaRoomParticipant {
  identity: string;
  /** The name that other participants see; may be `''`. */
  name: string;
  /** `joining`: signalling is connected; `joined`: its offer has arrived; `active`: media is connected; `disconnected`: it is leaving. */
  state: 'joining' | 'joined' | 'active' | 'disconnected';
  /** When it joined, in milliseconds since the epoch. */
  joinedAt: number;
  /** Text that every participant of the room can read; `''` for none. */
  metadata: string;
  /** Texts by key that every participant of the room can read; `{}` for none. */
  attributes: Record<string, string>;
  /** May publish audio and video. */
  canPublish: boolean;
  /** May receive the tracks of others. */
  canSubscribe: boolean;
  /** May send data messages. */
  canPublishData: boolean;
  /** The tracks that it publishes. */
  tracks: MediaTrack[];
}

/**
 * Changes of a participant: what is not named stays. At run time `null` counts as absent in `name`, `metadata` and `attributes`; in a
 * permission it is `INVALID_ARGUMENT`, as is a misspelt one.
 */
export interface MediaParticipantChange {
  /** The name that other participants see. Not empty, because LiveKit cannot clear it. */
  name?: string | undefined;
  /** Text about the participant. Not empty, because LiveKit cannot clear it. */
  metadata?: string | undefined;
  /** Texts by key. Keys that are not named stay; `null` or `''` removes a key. */
  attributes?: Readonly<Record<string, string | null>> | undefined;
  /** May publish audio and video. `false` unpublishes the participant's tracks. */
  canPublish?: boolean | undefined;
  /** May receive the tracks of others. */
  canSubscribe?: boolean | undefined;
  /** May send data messages. */
  canPublishData?: boolean | undefined;
  /** The sources that it may publish, at least one; tracks of other sources are unpublished. */
  canPublishSources?: readonly MediaTrackSource[] | undefined;
  /** May update its own name, metadata and attributes. */
  canUpdateOwnMetadata?: boolean | undefined;
  /** Not shown to other participants. */
  hidden?: boolean | undefined;
}

/** The room of an event. `sid` is the server's id: a later room of the same name has another one. */
export interface MediaEventRoom extends MediaRoomInfo {
  sid: string;
}

/** The participant of an event. `sid` is the server's id: the same identity has another one after each join. */
export interface MediaEventParticipant extends MediaRoomParticipant {
  sid: string;
}

/**
 * An event in a room, as a server reports it by a webhook. Servers deliver an event at least once: a repeated delivery has the same `id`.
 * `participant_joined` comes when a participant's media is connected; one that leaves before is a `participant_connection_aborted`.
 * A participant that joins again may be reported to have left after its new session has joined: compare `participant.sid`.
 */
export type MediaEvent = {
  /** Unique id of the event. */
  id: string;
  /** When it happened, in milliseconds since the epoch, of which servers report whole seconds. */
  createdAt: number;
} & (
  | { type: 'room_started'; room: MediaEventRoom }
  | {
      type: 'room_finished';
      room: MediaEventRoom;
      /** LiveKit's reason in lower case, such as `idle_timeout` or `api_delete`; servers before 1.13.7 send none. */
      reason?: string;
    }
  | { type: 'participant_joined'; room: MediaEventRoom; participant: MediaEventParticipant }
  | {
      type: 'participant_left' | 'participant_connection_aborted';
      room: MediaEventRoom;
      participant: MediaEventParticipant;
      /** LiveKit's `DisconnectReason` in lower case, such as `client_initiated`. */
      reason?: string;
    }
  | {
      type: 'track_published' | 'track_unpublished';
      room: { sid: string; name: string };
      participant: { sid: string; identity: string };
      track: MediaTrack;
    }
  | {
      type: 'egress_started' | 'egress_updated' | 'egress_ended';
      room?: { sid: string; name: string };
      /** LiveKit's `EgressInfo`, as JSON; room names in it have their prefix. */
      egress: Record<string, unknown>;
    }
  | {
      type: 'ingress_started' | 'ingress_ended';
      room?: { sid: string; name: string };
      /** LiveKit's `IngressInfo`, as JSON; room names in it have their prefix. */
      ingress: Record<string, unknown>;
    }
  | {
      type: 'agent_job_pending' | 'agent_job_started' | 'agent_job_ended';
      room?: { sid: string; name: string };
      /** LiveKit's `Job`, as JSON; room names in it have their prefix. */
      job: Record<string, unknown>;
    }
  | {
      /** An event that this version does not know. */
      type: 'unknown';
      /** LiveKit's name of the event. */
      name: string;
      room?: MediaEventRoom;
      participant?: MediaEventParticipant;
      track?: MediaTrack;
    }
);

/**
 * A webhook's request: a Fetch `Request`, or its raw body and its header `Authorization`. A parsed body is `INVALID_ARGUMENT`, because the
 * signature is of the bytes.
 */
export type MediaWebhookRequest =
  | {
      readonly headers: { get(name: string): string | null };
      readonly bodyUsed: boolean;
      readonly body: unknown;
      arrayBuffer(): Promise<ArrayBuffer>;
    }
  | { body: string | Uint8Array; authorization: string | null | undefined };

/** An event to sign: `id` and `createdAt` may be missing, as may all fields of room and participant but their names. */
export interface MediaEventToSign {
  type: MediaEvent['type'];
  name?: string | undefined;
  id?: string | undefined;
  createdAt?: number | undefined;
  room?: (Partial<MediaEventRoom> & { name: string }) | undefined;
  participant?: (Partial<MediaEventParticipant> & { identity: string }) | undefined;
  track?: MediaTrack | undefined;
  reason?: string | undefined;
  egress?: Record<string, unknown> | undefined;
  ingress?: Record<string, unknown> | undefined;
  job?: Record<string, unknown> | undefined;
}

/** A webhook as a server sends it: `POST` it with these headers. */
export interface MediaSignedWebhook {
  body: string;
  headers: { 'content-type': string; authorization: string };
}

/** Cancellation and time limit of one call. */
export interface MediaCallOptions {
  /** Aborts this call: it rejects with `ABORTED`, and the signal's reason as `cause`. Other calls that wait for the same room go on. */
  signal?: AbortSignalLike | undefined;
  /**
   * Milliseconds for the whole call, queueing and retries included, 1 to 2,147,483,647; default: `timeoutMs` of the configuration.
   * Past it the call rejects with `TIMEOUT`.
   */
  timeoutMs?: number | undefined;
}

/** Options of `muteParticipant`. */
export interface MediaMuteOptions extends MediaCallOptions {
  /** Mutes only tracks of these sources, at least one; default: all tracks. */
  sources?: readonly MediaTrackSource[] | undefined;
}

/** Options of `sendData`. */
export interface MediaDataOptions extends MediaCallOptions {
  /** Identities of the recipients, at least one; default: all participants of the room. */
  to?: readonly string[] | undefined;
  /** The topic that recipients see; default: none. */
  topic?: string | undefined;
  /** Whether lost packets are retransmitted; default `true`. Unreliable messages arrive sooner or not at all. */
  reliable?: boolean | undefined;
}

/** Options of `removeParticipant`. */
export interface MediaRemovalOptions extends MediaCallOptions {
  /**
   * Also revokes the tokens that were minted for this identity and room before the call; default `false`.
   * The embedded engine revokes them also if the participant is absent, in which case the call rejects with `PARTICIPANT_NOT_FOUND`.
   */
  revokeTokens?: boolean | undefined;
}

/** Result of `removeParticipant`. */
export interface MediaRemoval {
  /** Whether earlier tokens are revoked: only with `revokeTokens`, and not on a LiveKit server of your own, which cannot revoke. */
  tokensRevoked: boolean;
}

/** Options of {@link MediaService.generateToken}. */
export interface MediaTokenOptions extends MediaCallOptions {
  /**
   * The origin that the client has loaded the app from, such as that of the request's URL; http or https. If a server of the app serves signalling
   * ({@link MediaService.attach}), the result's `url` is below this origin; else it has no effect.
   */
  origin?: string | undefined;
}

/** Options of {@link MediaService.attach}. */
export interface MediaAttachOptions extends MediaCallOptions {
  /** The path below which signalling is served; default `/media`. Requests are `/media/rtc` and paths below it. */
  mediaPath?: string | undefined;
}

/** The members of an HTTP, HTTPS or HTTP/2 server of Node.js that are used. Declared here so that Node.js types are not needed. */
export interface MediaHttpServer {
  readonly listening: boolean;
  address(): unknown;
  emit(event: string, ...args: any[]): boolean;
  listenerCount(event: string): number;
  on(event: string, listener: (...args: any[]) => void): unknown;
  once(event: string, listener: (...args: any[]) => void): unknown;
  removeListener(event: string, listener: (...args: any[]) => void): unknown;
}

/** The members of `AbortSignal` that are used. Declared here so that neither DOM nor Node.js types are needed. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/**
 * Rooms and tokens. Every failure is a promise that rejects with a {@link MediaError}; nothing throws synchronously. `INVALID_ARGUMENT` comes before
 * anything is sent. With the provider `embedded`, the first call starts the engine, and rejects with `INVALID_CONFIG` if it cannot
 * listen. Methods work when taken off the object.
 */
export interface MediaService {
  /**
   * Creates the room, or returns the live room of that name unchanged.
   * Overlapping calls for one room in this process share a request, with the settings of the first call.
   */
  createRoom(roomId: string, settings?: MediaRoomInfoSettings, options?: MediaCallOptions): Promise<MediaRoomInfo>;
  /**
   * Disconnects all participants and removes the room; also succeeds if the room doesn't exist.
   * On LiveKit an unexpired token creates the room again when it is used to join, unless the server has `room.auto_create: false`.
   * On the embedded engine all earlier tokens for the room are revoked, even if the room is created again.
   */
  deleteRoom(roomId: string, options?: MediaCallOptions): Promise<void>;
  /** Lists the rooms on the server, sorted by name; with a `roomPrefix`, only rooms that have it. */
  listRooms(options?: MediaCallOptions): Promise<MediaRoomInfo[]>;
  /** Returns the room, or `null` if it doesn't exist. */
  getRoom(roomId: string, options?: MediaCallOptions): Promise<MediaRoomInfo | null>;
  /** Replaces the room's metadata, which its participants receive; `''` clears it. `ROOM_NOT_FOUND` if there is no such room. */
  updateRoom(roomId: string, change: { metadata: string }, options?: MediaCallOptions): Promise<MediaRoomInfo>;
  /**
   * Verifies a webhook of the server over its raw body, and returns its event; `null` if it is of a room with another `roomPrefix`.
   * `UNAUTHENTICATED` if it was not signed with this API key and secret for this body, or not within the last minutes.
   */
  receiveWebhook(request: MediaWebhookRequest, options?: MediaCallOptions): Promise<MediaEvent | null>;
  /** Signs an event as the server does, for tests of a route that receives webhooks. */
  signWebhook(event: MediaEventToSign, options?: MediaCallOptions): Promise<MediaSignedWebhook>;
  /** Mints a token for one participant to join one room. Signed locally, without network access. `URL_NOT_CONFIGURED` without a URL. */
  generateToken(roomId: string, participant: MediaParticipantInfo, options?: MediaTokenOptions): Promise<MediaTokenResult>;
  /** Returns the ws or wss URL that clients connect to, or `null` if none is configured. The embedded engine always has one. */
  mediaUrl(options?: MediaCallOptions): Promise<string | null>;
  /**
   * Embedded: also serves the engine's signalling on an HTTP server of the app, so that clients need no second port; takes effect before the promise
   * resolves. Call it before the first other call: if the server is reachable from other machines, the engine then receives media from them.
   * Resolves with a function that detaches it; open connections stay. On LiveKit it has no effect.
   */
  attach(server: MediaHttpServer, options?: MediaAttachOptions): Promise<() => void>;
  /** Lists the participants of the room, sorted by identity; empty if the room doesn't exist. */
  listParticipants(roomId: string, options?: MediaCallOptions): Promise<MediaRoomParticipant[]>;
  /** Returns the participant, or `null` if the room has none of that identity. */
  getParticipant(roomId: string, identity: string, options?: MediaCallOptions): Promise<MediaRoomParticipant | null>;
  /**
   * Changes a participant, and returns it. Fields absent from `change` keep their values; on a LiveKit server, permissions are read first,
   * so that another process that changes them at the same time may be undone.
   * `PARTICIPANT_NOT_FOUND` if the room has none of that identity.
   */
  updateParticipant(
    roomId: string,
    identity: string,
    change: MediaParticipantChange,
    options?: MediaCallOptions,
  ): Promise<MediaRoomParticipant>;
  /**
   * Mutes a participant's tracks, and returns those that it muted. Only the participant can unmute them: servers refuse it by default.
   * `PARTICIPANT_NOT_FOUND` if the room has none of that identity.
   */
  muteParticipant(roomId: string, identity: string, options?: MediaMuteOptions): Promise<MediaTrack[]>;
  /**
   * Sends a data message from the server to participants of a room. With topic and recipients at most 64 KiB, else `INVALID_ARGUMENT`.
   * A retry has the nonce of the first attempt, by which clients drop a second delivery. `ROOM_NOT_FOUND` if there is no such room.
   */
  sendData(roomId: string, data: string | Uint8Array, options?: MediaDataOptions): Promise<void>;
  /**
   * Disconnects a participant; `PARTICIPANT_NOT_FOUND` if the room has none of that identity.
   * Without `revokeTokens` its token stays valid: the participant can join again until it expires.
   */
  removeParticipant(roomId: string, identity: string, options?: MediaRemovalOptions): Promise<MediaRemoval>;
}

/**
 * The message of each call of a method of `media` on `diagnostics_channel`'s `tracingChannel('maravilla:media')`. Contains no token, secret or result.
 * The same object in all events of a call: `start`, `end`, `asyncStart`, `asyncEnd` and, if it rejects, `error`.
 */
export interface MediaTraceMessage {
  /** The method, such as `createRoom`. */
  operation: string;
  provider: 'livekit' | 'embedded';
  /** The room of the call, if it has one. */
  roomId?: string;
  /** The participant of the call, if it has one. */
  identity?: string;
  /** Host and port of the server API, if the method sends a request. */
  serverAddress?: string;
  /** The id of a request that has failed, as in the error. */
  requestId?: string;
  /** The error that the call rejects with. */
  error?: MediaError;
}

/** The platform of the app. Augment this interface with the properties that your runtime injects. */
export interface Platform {
  /** `undefined` if no media provider is configured: check it before use. */
  media?: MediaService;
}

/** A platform that is not shared, from {@link createPlatform}. */
export interface OwnedPlatform extends Platform, AsyncDisposable {
  /**
   * Waits for the calls in flight, then closes the rooms of an embedded engine and releases its port. On LiveKit nothing else is closed.
   * Later calls to that engine reject with `UNAVAILABLE`. May be called more than once.
   */
  close(): Promise<void>;
}

/** Configuration of the provider. An option overrides its environment variable; `undefined` and `''` count as absent. */
export interface PlatformOptions {
  /**
   * `MARAVILLA_MEDIA_PROVIDER`: a LiveKit server, an engine in this process, or none. Default: `livekit` if `url`, `apiUrl`, `apiKey` or `apiSecret`
   * is set (key and secret are required), else `none`. Rooms of `embedded` end with the process.
   */
  provider?: 'livekit' | 'embedded' | 'none' | undefined;
  /** `LIVEKIT_URL`: URL that clients connect to; ws, wss, http or https, returned as ws or wss. Required to mint tokens. */
  url?: string | undefined;
  /** `LIVEKIT_API_URL`: URL of the server API, if it differs; default: `url`. */
  apiUrl?: string | undefined;
  /** `LIVEKIT_API_KEY`: the API key. Embedded: `MARAVILLA_MEDIA_API_KEY`; default: a random pair for the process. */
  apiKey?: string | undefined;
  /** `LIVEKIT_API_SECRET`: the API secret. Embedded: `MARAVILLA_MEDIA_API_SECRET`; required with `apiKey`. */
  apiSecret?: string | undefined;
  /**
   * `MARAVILLA_MEDIA_HOST`: embedded: the IP address to listen on, or `localhost`; default `127.0.0.1`.
   * For `0.0.0.0` and `::`, clients get the machine's first non-loopback address.
   */
  host?: string | undefined;
  /**
   * `MARAVILLA_MEDIA_PORT`: embedded: the TCP port for signalling, 0 to 65,535, `0` for any free one. Default: 7880 or the next free one; for
   * {@link createPlatform} any free one. If a given port is in use, the first call rejects with `INVALID_CONFIG`.
   */
  port?: number | undefined;
  /** `MARAVILLA_MEDIA_PUBLIC_URL`: embedded: URL that clients connect to, such as a proxy's; default: host and port. */
  publicUrl?: string | undefined;
  /**
   * `MARAVILLA_MEDIA_RTC_PORT`: embedded: the UDP and TCP port for media, 1 to 65,535; default: any free one, chosen at the first join.
   * A given port is opened when the engine starts; if it is in use, the first call rejects with `INVALID_CONFIG`.
   */
  rtcPort?: number | undefined;
  /**
   * `MARAVILLA_MEDIA_RTC_ADDRESS`: embedded: up to 8 IP addresses, comma-separated, offered to clients as ICE candidates, such as a
   * container's host or the external address of a NAT; default: the machine's own. The port is `rtcPort` at each address.
   */
  rtcAddress?: string | undefined;
  /**
   * `MARAVILLA_MEDIA_WEBHOOK_URLS`: embedded: up to 8 http or https URLs, comma-separated or as an array, that receive LiveKit's webhooks from
   * the engine; default: none.
   */
  webhookUrls?: string | readonly string[] | undefined;
  /** `MARAVILLA_MEDIA_ROOM_PREFIX`: prefix of every room name on the server; results do not contain it. Must not end in a letter or digit. */
  roomPrefix?: string | undefined;
  /** `MARAVILLA_MEDIA_TOKEN_TTL_SECS`: lifetime of tokens in seconds, 1 to 2,592,000; default 21600 (6 h). */
  tokenTtlSecs?: number | undefined;
  /**
   * `MARAVILLA_MEDIA_TIMEOUT_MS`: milliseconds for a whole call, queueing and retries included, 1 to 2,147,483,647; default 10000.
   * On LiveKit Cloud, calls fail over to another region only with 5000 or more.
   */
  timeoutMs?: number | undefined;
  /**
   * Read instead of `process.env`. In SvelteKit pass `$app/env/private` or `$env/dynamic/private`, because it keeps `.env` out of `process.env`.
   *
   * `MARAVILLA_MEDIA_LOG` has no option, because the log is the process's: the level of the embedded engine's events on standard error, `off` (default),
   * `error`, `warn`, `info` or `debug`.
   */
  env?: Readonly<Record<string, string | undefined>> | undefined;
  /** No effect. An option of the hosted platform, accepted for compatibility. */
  devServerUrl?: string | undefined;
  /** No effect. An option of the hosted platform, accepted for compatibility. */
  tenant?: string | undefined;
}

/**
 * Returns the platform of the process: the injected one if there is one, else one made from options and environment. Returns the same object at each
 * call, unless the environment has changed.
 * Throws `INVALID_CONFIG` if options differ from the first call's, or if the provider cannot run.
 * All threads of a process share one embedded engine. An injected platform keeps its own `media`, unless `provider` or
 * `MARAVILLA_MEDIA_PROVIDER` is set.
 * In bundles for workers, edge runtimes and browsers: returns the injected platform or an empty one.
 */
export declare function getPlatform(options?: PlatformOptions): Platform;

/** Forgets the platform of {@link getPlatform}, so that the next call makes a new one. A running engine keeps its rooms. */
export declare function clearPlatformCache(): void;

/**
 * Makes a platform that is not shared. Reads no environment unless `env` is given, except for the process's proxies and certificate authorities. An
 * embedded engine is its own, too. Throws `INVALID_CONFIG`.
 */
export declare function createPlatform(options?: PlatformOptions): OwnedPlatform;

/** Calls `fn` and returns its result. For development tools of the hosted platform; `request` has no effect. */
export declare function runWithRequest<T>(request: unknown, fn: () => T): T;

/** Returns `undefined`. For development tools of the hosted platform. */
export declare function getCurrentRequestStore(): undefined;

/** The code of a {@link MediaError}. The README lists the causes and remedies. */
export type MediaErrorCode =
  | 'INVALID_ARGUMENT'
  | 'INVALID_CONFIG'
  | 'URL_NOT_CONFIGURED'
  | 'UNAUTHENTICATED'
  | 'PERMISSION_DENIED'
  | 'ROOM_NOT_FOUND'
  | 'PARTICIPANT_NOT_FOUND'
  | 'LIMIT_EXCEEDED'
  | 'UNAVAILABLE'
  | 'TIMEOUT'
  | 'ABORTED'
  | 'BAD_RESPONSE'
  | 'UPSTREAM_ERROR'
  | 'INTERNAL';

/** Properties of a new {@link MediaError}. Defaults: `operation` `''`, `retryable` `false`. */
export interface MediaErrorDetails {
  operation?: string | undefined;
  retryable?: boolean | undefined;
  upstreamStatus?: number | undefined;
  requestId?: string | undefined;
  cause?: unknown;
}

/** The only error class of this package. It has no `status`, so that no web framework sends one to a visitor. */
export declare class MediaError extends Error {
  constructor(code: MediaErrorCode, message: string, details?: MediaErrorDetails);
  readonly name: 'MediaError';
  readonly code: MediaErrorCode;
  /** The function or method that failed, such as `createRoom`. */
  readonly operation: string;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** The HTTP status of the server's response, if there was one. */
  readonly upstreamStatus?: number;
  /** The request's id (`X-Livekit-Request-Id`), if a request was made. */
  readonly requestId?: string;
  /** The underlying error, or the reason of an aborted signal. */
  readonly cause?: unknown;
}

/** Whether a caught value is a {@link MediaError}, including one of another copy of this package. */
export declare function isMediaError(value: unknown): value is MediaError;
