const paths = {
  microphone: 'M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3ZM5 11v1a7 7 0 0 0 14 0v-1M12 19v3',
  microphoneOff: 'M9 9v3a3 3 0 0 0 5 2.2M15 11V6a3 3 0 0 0-5.9-.8M5 11v1a7 7 0 0 0 11.5 5.4M19 11v1a7 7 0 0 1-.4 2.4M12 19v3M3 3l18 18',
  camera: 'M4 7h9a2 2 0 0 1 2 2v6a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V9a2 2 0 0 1 2-2ZM15 11l6-3.5v9L15 13',
  cameraOff: 'M10 7h3a2 2 0 0 1 2 2v2l6-3.5v9L17 14M15 15a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V9a2 2 0 0 1 2-2h1M3 3l18 18',
  screen: 'M4 4h16a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2ZM8 21h8M12 14V8M9 10.5 12 8l3 2.5',
  chat: 'M21 12a8 8 0 0 1-8 8H4l2-3.2A8 8 0 1 1 21 12ZM9 12h.01M13 12h.01M17 12h.01',
  leave: 'M3 14c0-1 .6-1.9 1.5-2.3a18 18 0 0 1 15 0c.9.4 1.5 1.300 1.5 2.3v1.5a1 1 0 0 1-1.2 1l-3-.6a1 1 0 0 1-.8-1v-1.6a13 13 0 0 0-8 0v1.6a1 1 0 0 1-.8 1l-3 .6a1 1 0 0 1-1.2-1Z',
  close: 'M6 6l12 12M18 6 6 18',
  link: 'M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.7-5.7L12 7M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.7 5.7L12 17',
};

export type IconName = keyof typeof paths;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}
