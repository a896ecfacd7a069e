//! Tunes with what they come to. The melodies are in the public domain, their beginnings written down by us; the rest
//! is our own, for what melodies leave out. Owns test data only.
//!
//! What is expected was not asked of the parser: lengths come from counting the music's bars, and a reading in exact
//! fractions agreed.

/// `(what, RTTTL, what it comes to)`; the frequencies are those of the first and the last note that sounds.
pub(super) const TUNES: &[(&str, &str, &str)] = &[
    (
        "Ode to Joy (Beethoven, 1824)",
        "Ode:d=4,o=5,b=160:e,e,f,g,g,f,e,d,c,c,d,e,e.,8d,2d",
        "15 notes, 0 pauses, 6000 ms, 659.26 to 587.33 Hz",
    ),
    (
        "Für Elise (Beethoven, 1810)",
        "Für Elise:d=16,o=6,b=125:e,d#,e,d#,e,b5,d,c,8a5,p,c5,e5,a5,8b5,p,e5,g#5,b5,8c",
        "17 notes, 2 pauses, 2640 ms, 1318.51 to 1046.50 Hz",
    ),
    (
        "Symphony No. 5 (Beethoven, 1808)",
        "Fifth:d=8,o=5,b=160:p,g,g,g,2d#,p,f,f,f,2d",
        "8 notes, 2 pauses, 3000 ms, 783.99 to 587.33 Hz",
    ),
    (
        "Greensleeves (trad.)",
        "Greensleeves:d=8,o=5,b=160:a,4c6,d6,e6.,16f#6,e6,4d6,b,g.,16a,b,4c6,a,a.,16g#,a,4b,g#,4e",
        "19 notes, 0 pauses, 4500 ms, 880.00 to 659.26 Hz",
    ),
    (
        "Frère Jacques (trad.)",
        "Frere:d=4,o=5,b=200:c,d,e,c,c,d,e,c,e,f,2g,e,f,2g,8g,8a,8g,8f,e,c,8g,8a,8g,8f,e,c,c,g4,2c,c,g4,2c",
        "32 notes, 0 pauses, 9600 ms, 523.25 to 523.25 Hz",
    ),
    (
        "Twinkle, twinkle (trad.)",
        "Twinkle:d=4,o=6,b=160:c,c,g,g,a,a,2g,f,f,e,e,d,d,2c",
        "14 notes, 0 pauses, 6000 ms, 1046.50 to 1046.50 Hz",
    ),
    (
        "Amazing Grace (trad., 1829)",
        "Grace:d=4,o=5,b=150:d,2g,8b,8g,2b,a,2g,e,2d,d,2g,8b,8g,2b,a,2d6.",
        "16 notes, 0 pauses, 8800 ms, 587.33 to 1174.66 Hz",
    ),
    (
        "William Tell (Rossini, 1829)",
        "Tell:d=16,o=5,b=140:b,b,8b,b,b,8b,b,b,8e6,8f#6,8g#6,b,b,8b,b,b,8b,b,b,8e6,8g#6,8f#6,8d#6,8b",
        "24 notes, 0 pauses, 3857 ms, 987.77 to 987.77 Hz",
    ),
    (
        "Toreador (Bizet, 1875)",
        "Toreador:d=4,o=5,b=120:c6,8d.6,16c6,a,a,8a.,16g,8a.,16a#,2a,a#,8g.,16c6,2a,f,8d.,16g,2c",
        "18 notes, 0 pauses, 8000 ms, 1046.50 to 523.25 Hz",
    ),
    (
        "Minuet in G (Petzold, 1725)",
        "Minuet:d=8,o=5,b=180:4d6,g,a,b,c6,4d6,4g,4g,4e6,c6,d6,e6,f#6,4g6,4g,4g,4c6,d6,c6,b,a,4b,c6,b,a,g,4f#,g,\
         a,b,g,2a.",
        "32 notes, 0 pauses, 8000 ms, 1174.66 to 880.00 Hz",
    ),
    (
        "Toccata in D minor (Bach, 1708)",
        "Toccata:d=16,o=5,b=90:32a,32g,2a,8p,g,f,e,d,4c#,2d",
        "9 notes, 1 pauses, 4500 ms, 880.00 to 587.33 Hz",
    ),
    (
        "Westminster chimes (1793)",
        "Westminster:d=4,o=5,b=180:c,e,d,2g.4,c,d,e,2c.,e,c,d,2g4.,g4,d,e,2c.",
        "16 notes, 0 pauses, 8000 ms, 523.25 to 523.25 Hz",
    ),
    (
        "Taps (Butterfield, 1862)",
        "Taps:d=8,o=5,b=160:g.,16g,2c.6,g.,16c6,2e.6,g,c6,4e6,g,c6,4e6,g,c6,2e.6,c.6,16e6,2g6,4e6,4c6,2g.",
        "21 notes, 0 pauses, 9000 ms, 783.99 to 783.99 Hz",
    ),
    (
        "Yankee Doodle (trad.)",
        "Yankee:d=8,o=6,b=160:c,c,d,e,c,e,4d,c,c,d,e,4c,4b5,c,c,d,e,f,e,d,c,b5,g5,a5,b5,4c,4c",
        "27 notes, 0 pauses, 6000 ms, 1046.50 to 1046.50 Hz",
    ),
    (
        "Jingle Bells (Pierpont, 1857)",
        "Jingle:d=4,o=6,b=200:e,e,2e,e,e,2e,e,g,c.,8d,1e,f,f,f.,8f,f,e,e,8e,8e,e,d,d,e,2d,2g",
        "26 notes, 0 pauses, 9600 ms, 1318.51 to 1567.98 Hz",
    ),
    (
        "Auld Lang Syne (trad.)",
        "Auld:d=4,o=5,b=150:c,f.,8f,f,a,g.,8f,g,a,f.,8f,a,c6,2d6.",
        "14 notes, 0 pauses, 6400 ms, 523.25 to 1174.66 Hz",
    ),
    (
        "La Cucaracha (trad.)",
        "Cucaracha:d=8,o=5,b=200:c,c,c,4f.,4a,c,c,c,4f.,2a,4f,f,e,e,d,d,2c",
        "17 notes, 0 pauses, 4350 ms, 523.25 to 523.25 Hz",
    ),
    (
        "Korobeiniki (trad.)",
        "Korobeiniki:d=4,o=5,b=160:e6,8b,8c6,d6,8c6,8b,a,8a,8c6,e6,8d6,8c6,b.,8c6,d6,e6,c6,a,2a",
        "19 notes, 0 pauses, 6000 ms, 1318.51 to 880.00 Hz",
    ),
    (
        "In the Hall of the Mountain King (Grieg, 1875)",
        "Grieg:d=8,o=5,b=180:b4,c#,d,e,f#,d,4f#,e#,c#,4e#,e,c,4e,b4,c#,d,e,f#,d,f#,b,a,f#,d,f#,2a",
        "26 notes, 0 pauses, 5333 ms, 493.88 to 880.00 Hz",
    ),
    (
        "Galop infernal, the Can-Can (Offenbach, 1858)",
        "CanCan:d=8,o=5,b=225:2c,d,f,e,d,4g,4g,g,a,e,f,4d,4d,d,f,e,d,c,c6,h,a,g,f,e,d,4c",
        "26 notes, 0 pauses, 4533 ms, 523.25 to 523.25 Hz",
    ),
    (
        "Bridal Chorus (Wagner, 1850)",
        "Bridal:d=4,o=5,b=100:c,8f.,16f,2f,c,8g.,16e,2f",
        "8 notes, 0 pauses, 4800 ms, 523.25 to 698.46 Hz",
    ),
    (
        "Funeral March (Chopin, 1839)",
        "Chopin:d=2,o=4,b=160:a#,4a#.,8a#,a#,4c#5.,8c5,4c5.,8a#,4a#.,8a,a#",
        "11 notes, 0 pauses, 5250 ms, 466.16 to 466.16 Hz",
    ),
    (
        "The Blue Danube (Strauss, 1866)",
        "Danube:d=4,o=5,b=180:d,d,f#,a,2a,a6,a6,p,f#6,2f#6",
        "9 notes, 1 pauses, 4000 ms, 587.33 to 1479.98 Hz",
    ),
    (
        "Swan Lake (Tchaikovsky, 1876)",
        "Swan:d=8,o=5,b=140:2e6,a,b,c6,d6,4e.6,c6,4e.6,c6,4e6.,a,c6,a,f,c6,2a",
        "16 notes, 0 pauses, 6000 ms, 1318.51 to 880.00 Hz",
    ),
    (
        "Drunken Sailor (trad.)",
        "Sailor:d=4,o=5,b=200:a,8a,8a,a,8a,8a,a,d,f,a,g,8g,8g,g,8g,8g,g,c,e,g,a,8a,8a,a,8a,8a,a,b,c6,d6,c6,a,g,e,\
         2d,2d",
        "36 notes, 0 pauses, 9600 ms, 880.00 to 587.33 Hz",
    ),
    (
        "Shave and a Haircut (trad.)",
        "Shave:d=4,o=5,b=200:c6,8g,8g,a,g,p,b,c6",
        "7 notes, 1 pauses, 2100 ms, 1046.50 to 1046.50 Hz",
    ),
    (
        "Scarborough Fair (trad.)",
        "Fair:d=4,o=5,b=160:2d,d,a.,8a,a,e.,8f,e,2d.,p,a,c6,2d6,c6,a,b,g,2a.",
        "17 notes, 1 pauses, 9000 ms, 587.33 to 880.00 Hz",
    ),
    (
        "Oh! Susanna (Foster, 1848)",
        "Susanna:d=4,o=5,b=180:8c,8d,e,g,g.,8a,g,e,c.,8d,e,e,d,c,2d.",
        "15 notes, 0 pauses, 5333 ms, 523.25 to 587.33 Hz",
    ),
    (
        "When the Saints (trad.)",
        "Saints:d=4,o=5,b=200:p,c,e,f,1g,p,c,e,f,1g,p,c,e,f,2g,2e,2c,2e,1d",
        "16 notes, 3 pauses, 9600 ms, 523.25 to 587.33 Hz",
    ),
    (
        "London Bridge (trad.)",
        "London:d=4,o=5,b=180:g.,8a,g,f,e,f,2g,d,e,2f,e,f,2g",
        "13 notes, 0 pauses, 5333 ms, 783.99 to 783.99 Hz",
    ),
    (
        "Mary had a little lamb (trad.)",
        "Mary:d=4,o=5,b=200:e,d,c,d,e,e,2e,d,d,2d,e,g,2g",
        "13 notes, 0 pauses, 4800 ms, 659.26 to 783.99 Hz",
    ),
    (
        "Row, row, row your boat (trad.)",
        "Row:d=8,o=5,b=180:4c.,4c.,4c,d,4e.,4e,d,4e,f,2g.,c6,c6,c6,g,g,g,e,e,e,c,c,c,4g,f,4e,d,2c.",
        "27 notes, 0 pauses, 8000 ms, 523.25 to 523.25 Hz",
    ),
    (
        "Old MacDonald (trad.)",
        "Farm:d=4,o=5,b=180:g,g,g,d,e,e,2d,b,b,a,a,2g.",
        "12 notes, 0 pauses, 5000 ms, 783.99 to 783.99 Hz",
    ),
    (
        "Wiegenlied (Brahms, 1868)",
        "Brahms:d=4,o=5,b=100:8e,8e,g.,8e,e,g,p,8e,8g,c6,b.,8a,a,g",
        "13 notes, 1 pauses, 7200 ms, 659.26 to 783.99 Hz",
    ),
    (
        "Deck the Halls (trad.)",
        "Halls:d=4,o=5,b=200:g.,8f,e,d,c,d,e,c,8d,8e,8f,8d,e.,8d,c,b4,2c",
        "17 notes, 0 pauses, 4800 ms, 783.99 to 523.25 Hz",
    ),
    (
        "Joy to the World (Mason, 1839)",
        "Joy:d=4,o=5,b=140:c6,8b.,16a,g.,8f,e,d,c.,8g,a.,8a,b.,8b,2c6",
        "14 notes, 0 pauses, 6000 ms, 1046.50 to 1046.50 Hz",
    ),
    (
        "Silent Night (Gruber, 1818)",
        "Night:d=8,o=5,b=100:g.,16a,g,4e.,g.,16a,g,4e.,4d6,d6,4b.,4c6,c6,4g.",
        "14 notes, 0 pauses, 7200 ms, 783.99 to 783.99 Hz",
    ),
    (
        "God Save the King (trad.)",
        "King:d=4,o=5,b=140:c,c,d,b.4,8c,d,e,e,f,e.,8d,c,d,c,b4,2c.",
        "16 notes, 0 pauses, 7714 ms, 523.25 to 523.25 Hz",
    ),
    (
        "Eine kleine Nachtmusik (Mozart, 1787)",
        "Nachtmusik:d=8,o=5,b=140:4g,p,d,4g,p,d,g,d,g,h,4d6,4p",
        "9 notes, 3 pauses, 3429 ms, 783.99 to 1174.66 Hz",
    ),
    (
        "Rondo alla turca (Mozart, 1784)",
        "Turca:d=16,o=5,b=125:b,a,g#,a,8c6,8p,d6,c6,b,c6,8e6,8p,f6,e6,d#6,e6,b6,a6,g#6,a6,b6,a6,g#6,a6,4c7",
        "23 notes, 2 pauses, 3840 ms, 987.77 to 2093.00 Hz",
    ),
    (
        "The Entertainer (Joplin, 1902)",
        "Joplin:d=8,o=5,b=140:d,d#,e,4c6,e,4c6,e,2c.6",
        "8 notes, 0 pauses, 3214 ms, 587.33 to 1046.50 Hz",
    ),
    (
        "Spring (Vivaldi, 1725)",
        "Spring:d=4,o=5,b=180:c,e,e,e,8d,8c,2g.,8g,8f,e,e,e,8d,8c,2g.",
        "15 notes, 0 pauses, 5333 ms, 523.25 to 783.99 Hz",
    ),
    (
        "Canon in D (Pachelbel, 1690)",
        "Canon:d=2,o=6,b=120:f#,e,d,c#,b5,a5,b5,c#",
        "8 notes, 0 pauses, 8000 ms, 1479.98 to 1108.73 Hz",
    ),
    // Our own.
    ("own: notes alone", "8e,8g,c7", "3 notes, 0 pauses, 1905 ms, 1318.51 to 2093.00 Hz"),
    ("own: defaults without a name", "d=16,o=6,b=180:c,e,g,8c7", "4 notes, 0 pauses, 417 ms, 1046.50 to 2093.00 Hz"),
    ("own: a name without defaults", "Ping::8c7,p,2e5", "2 notes, 1 pauses, 3333 ms, 2093.00 to 659.26 Hz"),
    ("own: nothing but colons", "::c,e", "2 notes, 0 pauses, 1905 ms, 1046.50 to 1318.51 Hz"),
    ("own: every length", ":o=5,b=240:1c,2d,4e,8f,16g,32a,64b", "7 notes, 0 pauses, 1984 ms, 523.25 to 987.77 Hz"),
    (
        "own: every default length",
        "Lengths:o=5,b=240:d=1,c,d=2,d,d=4,e,d=8,f,d=16,g,d=32,a,d=64,b",
        "7 notes, 0 pauses, 1984 ms, 523.25 to 987.77 Hz",
    ),
    (
        "own: every octave",
        "Octaves:d=16,b=120:a1,a2,a3,a4,a5,a6,a7,a8",
        "8 notes, 0 pauses, 1000 ms, 55.00 to 7040.00 Hz",
    ),
    (
        "own: every default octave",
        "Octaves:d=16,b=120:o=1,c,o=2,c,o=3,c,o=4,c,o=5,c,o=6,c,o=7,c,o=8,c",
        "8 notes, 0 pauses, 1000 ms, 32.70 to 4186.01 Hz",
    ),
    (
        "own: every sharp",
        "Sharps:d=16,o=5,b=120:c#,d#,e#,f#,g#,a#,b#,h#",
        "8 notes, 0 pauses, 1000 ms, 554.37 to 1046.50 Hz",
    ),
    (
        "own: every stretch in every place",
        "Stretch:d=8,o=5,b=120:c.6,c6.,8.c6,c..6,c6;,c&6,c6&,8&c6,4p.,c&",
        "9 notes, 1 pauses, 3417 ms, 1046.50 to 523.25 Hz",
    ),
    (
        "own: triplets",
        "Triplets:d=8,o=5,b=120:c&,d&,e&,4f,g&,a&,b&,4c6",
        "8 notes, 0 pauses, 2000 ms, 523.25 to 1046.50 Hz",
    ),
    (
        "own: controls on the way",
        "Ways:d=4,o=5,b=120:c,o=6,d=8,c,b=240,c,b60,c,O5,SS,s=n,v9,c",
        "5 notes, 0 pauses, 1875 ms, 523.25 to 523.25 Hz",
    ),
    (
        "own: RTX, with nothing between",
        "RTX:B715,S=C,L=0,V=7:32C,32P,32D,32P,32E,32P,32F,32P,32G,32P",
        "5 notes, 5 pauses, 105 ms, 1046.50 to 1567.98 Hz",
    ),
    (
        "own: capitals, blanks and lines",
        " Wrapped at 12 \n: D = 1\n6 , O=\t5 , B = 1 0 0 :\n C , 1\n6 E , 8 G # . 6 ,\r\n P . ,\n 4 H 5 .\n",
        "4 notes, 1 pauses, 1875 ms, 523.25 to 987.77 Hz",
    ),
    ("own: the last comma", "d=8,o=5,b=120,:g,p,g,", "2 notes, 1 pauses, 750 ms, 783.99 to 783.99 Hz"),
    (
        "own: zeros before numbers",
        "Zeros:d=08,o=05,b=0120:c,04e,16g06",
        "3 notes, 0 pauses, 875 ms, 523.25 to 1567.98 Hz",
    ),
    ("own: ten seconds to the dot", "Ten:d=2,b=60:c,c,c,c,g", "5 notes, 0 pauses, 10000 ms, 1046.50 to 1567.98 Hz"),
    ("own: as slow as can be", "Slow:d=1,b=25:c", "1 notes, 0 pauses, 9600 ms, 1046.50 to 1046.50 Hz"),
    ("own: as fast as can be", "Fast:d=64,b=900:c1,h8,p,f#4", "3 notes, 1 pauses, 17 ms, 32.70 to 369.99 Hz"),
];

/// From C4 on, as printed in any table of equal temperament.
pub(super) const SEMITONES_HZ: [[f64; 12]; 4] = [
    [261.63, 277.18, 293.66, 311.13, 329.63, 349.23, 369.99, 392.00, 415.30, 440.00, 466.16, 493.88],
    [523.25, 554.37, 587.33, 622.25, 659.26, 698.46, 739.99, 783.99, 830.61, 880.00, 932.33, 987.77],
    [1046.50, 1108.73, 1174.66, 1244.51, 1318.51, 1396.91, 1479.98, 1567.98, 1661.22, 1760.00, 1864.66, 1975.53],
    [2093.00, 2217.46, 2349.32, 2489.02, 2637.02, 2793.83, 2959.96, 3135.96, 3322.44, 3520.00, 3729.31, 3951.07],
];
